package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"mustafar/gguf"
	"mustafar/gguf/synth"
)

// TestMain makes the program itself a command, "mustafar", of scripts and of exec.Command.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"mustafar": func() { os.Exit(Main(os.Args[1:])) }})
}

// demoModel returns the path of the model that the tests answer with.
func demoModel(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../../models/SmolLM2-135M-Instruct.Q4_1.gguf")
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Fatalf("%v: run make model", err)
	}
	return path
}

// small is a random model that answers at once. It ends no answer by itself.
var small = synth.Model{Layers: 2, Embd: 128, FF: 128, Heads: 2, KVHeads: 1, Vocab: 300, Ctx: 8192, OwnOutput: true, Seed: 1, Type: gguf.F16}

// writeModel writes a random model as it is, or damaged: of another architecture, without tensors, with a norm that overflows, with fewer rows
// than its vocabulary has tokens.
func writeModel(path string, m synth.Model, damage string) error {
	var whole bytes.Buffer
	if err := m.Write(&whole); err != nil {
		return err
	}
	if err := os.WriteFile(path, whole.Bytes(), 0o666); err != nil || damage == "" {
		return err
	}
	f, err := gguf.Open(path)
	if err != nil {
		return err
	}
	kvs, tensors := slices.Clone(f.Keys()), slices.Clone(f.Tensors)
	key := func(name string) *gguf.KV {
		return &kvs[slices.IndexFunc(kvs, func(kv gguf.KV) bool { return kv.Key == name })]
	}
	switch damage {
	case "other-architecture":
		key("general.architecture").Value = "rwkv"
	case "no-tensors":
		tensors = nil
	case "overflow":
		i := slices.IndexFunc(tensors, func(t gguf.Tensor) bool { return t.Name == "output_norm.weight" })
		huge := make([]float32, tensors[i].Elems())
		for j := range huge {
			huge[j] = 3e38
		}
		tensors[i].Data = gguf.Quantize(gguf.F32, huge)
	case "more-tokens":
		tokens := key("tokenizer.ggml.tokens")
		tokens.Value = append(slices.Clone(tokens.Value.([]string)), "one", "more")
		scores := key("tokenizer.ggml.scores")
		scores.Value = append(slices.Clone(scores.Value.([]float32)), 0, 0)
		types := key("tokenizer.ggml.token_type")
		types.Value = append(slices.Clone(types.Value.([]int32)), 1, 1)
	default:
		return errors.New("no damage " + damage)
	}
	var damaged bytes.Buffer
	if err := gguf.Write(&damaged, kvs, tensors); err != nil {
		return err
	}
	f.Close()
	return os.WriteFile(path, damaged.Bytes(), 0o666)
}

// randomModel writes a random model to a file of the test's own.
func randomModel(t *testing.T, m synth.Model) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "random.gguf")
	if err := writeModel(path, m, ""); err != nil {
		t.Fatal(err)
	}
	return path
}

// longPrompt writes a prompt of so many tokens of the demo model, tens of them, which take it a while.
func longPrompt(t *testing.T, tokens int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "long.txt")
	text := strings.TrimSpace(strings.Repeat("The quick brown fox jumps over the lazy dog. ", tokens/10))
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// finished is a run of the program that has ended.
type finished struct {
	code           int // -1: a signal
	stdout, stderr string
}

// mustafar runs the program with text on its stdin.
func mustafar(t *testing.T, stdin string, args ...string) finished {
	t.Helper()
	cmd := exec.Command("mustafar", args...)
	var stdout, stderr strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return finished{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// runJSONOf runs `mustafar run -o json`, which must succeed, and returns its answer.
func runJSONOf(t *testing.T, stdin string, args ...string) (answer runJSON) {
	t.Helper()
	f := mustafar(t, stdin, append([]string{"run", "-o", "json"}, args...)...)
	if f.code != 0 {
		t.Fatalf("exit %d: %s", f.code, f.stderr)
	}
	if err := json.Unmarshal([]byte(f.stdout), &answer); err != nil {
		t.Fatalf("%v in %q", err, f.stdout)
	}
	return answer
}
