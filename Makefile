# Go, make and pip are enough to build and to run the demo; the tests also want a C++ compiler.
MODEL := models/SmolLM2-135M-Instruct.Q4_1.gguf
export CGO_ENABLED := 0

.PHONY: help build demo test lint bench model generate fuzz cross race clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build ./mustafar
	go build -o mustafar .

model: ## fetch the demo model into models/
	@scripts/fetch-model

demo: build model ## answer a question about a long text, dense and sparse, and compare
	@mkdir -p build
	@examples/ask.sh docs/how-it-works.md "Which tokens stay dense in the cache, and why?" > build/demo.txt
	./mustafar compare -m $(MODEL) -f build/demo.txt --caches dense,sparse:0.5,paper:0.7 -n 96

test: model ## run all tests
	go vet ./...
	go test -count=1 ./...

race: model ## the tests of what runs in parallel, under the race detector (wants a C compiler)
	CGO_ENABLED=1 go test -race -count=1 ./backend/cpu -run 'Pool|Level'

fuzz: ## fuzz the file reader for 30 s
	go test ./gguf -run '^$$' -fuzz FuzzOpen -fuzztime 30s -fuzzminimizetime 10x

lint: ## gofmt, vet, and golangci-lint where it can be had
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	go vet ./...
	@if command -v golangci-lint >/dev/null; then golangci-lint run; else echo "lint: golangci-lint is not on this machine: vet and gofmt only"; fi

generate: ## write the assembly of backend/cpu anew
	go generate ./backend/cpu

cross: ## build for the platforms that are not this one
	@for p in linux/amd64 linux/arm64 darwin/arm64 windows/amd64; do \
		echo "build $$p"; GOOS=$${p%/*} GOARCH=$${p#*/} go build -o /dev/null . || exit 1; done

bench: ## time the kernels
	go test ./backend/cpu ./gguf ./model/tokenizer -run '^$$' -bench .

clean: ## remove what was built, not the model
	rm -rf mustafar build
