package cli

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path"
	"sort"
	"strings"

	"mustafar/kvcache"
	"mustafar/model"
)

// holding returns the bytes of all caches that a command has at once, when each sequence holds n tokens.
type holding func(s kvcache.Shape, n int) int64

// fitContext returns the context to run with: what -c asks for, which must fit the memory that is free, or the model's, or as much of it as fits.
func (m *modelFlags) fitContext(e *env, mod *model.Model, held holding) (int, error) {
	ctx := m.ctx
	switch {
	case ctx == 0:
		ctx = mod.Ctx
	case ctx > mod.Ctx:
		fmt.Fprintf(e.stderr, "mustafar: a context of %d is more than the %d tokens that the model was trained for: what lies behind them will be poor\n", ctx, mod.Ctx)
	}
	free, known := availableMemory(os.DirFS("/"))
	if !known {
		return ctx, nil
	}
	free -= mod.WeightBytes() // mapped files count as available
	most := mostThatFits(ctx, free, func(n int) int64 { return held(mod.Shape(), n) + promptBytes(mod, n) })
	if most == ctx {
		return ctx, nil
	}
	if m.ctx > 0 || most < leastContext {
		return 0, fmt.Errorf("a context of %d tokens takes %s of KV cache and %s while a prompt passes, but %s are free beside %s of weights: %s",
			ctx, mib(held(mod.Shape(), ctx)), mib(promptBytes(mod, ctx)), mib(max(0, free)), mib(mod.WeightBytes()), advise(most))
	}
	fmt.Fprintf(e.stderr, "mustafar: context %d of the model's %d tokens: more does not fit the %s that are free\n", most, ctx, mib(free))
	return most, nil
}

// mostThatFits returns the largest context, up to limit, that needs no more than what is free. need grows with it, but for what compressing a group saves.
func mostThatFits(limit int, free int64, need func(n int) int64) int {
	return sort.Search(limit, func(n int) bool { return need(n+1) > free })
}

// leastContext is the smallest context that is chosen without being asked for.
const leastContext = 256

func advise(most int) string {
	if most < leastContext {
		return "want more memory or a smaller model"
	}
	return fmt.Sprintf("want -c %d at most, or a sparser cache (--sparsity)", most)
}

// promptBytes is what a prompt of n tokens takes beside the cache while it passes: K and V of one layer dense, and its hidden states.
func promptBytes(mod *model.Model, n int) int64 {
	layer := mod.Shape()
	layer.Layers = 1
	return kvcache.Dense.Bytes(layer, n) + 4*int64(n)*int64(mod.Embd)
}

// availableMemory returns what can be taken without swapping, as far as the system tells: MemAvailable, or what the control groups (version 2) that
// this process is in leave of their limits. root is the file system's.
func availableMemory(root fs.FS) (n int64, known bool) {
	n, known = number(root, "proc/meminfo", "MemAvailable:")
	n <<= 10
	group, ok := field(root, "proc/self/cgroup", "0::")
	for dir := path.Join("sys/fs/cgroup", group); ok && strings.HasPrefix(dir, "sys/fs/cgroup"); dir = path.Dir(dir) {
		limit, limited := number(root, dir+"/memory.max", "")
		used, counted := number(root, dir+"/memory.current", "")
		cached, _ := number(root, dir+"/memory.stat", "file ")
		if left := limit - used + cached; limited && counted && (!known || left < n) {
			n, known = left, true
		}
	}
	return n, known
}

// field returns the first word behind the beginning of a line of a file, and whether there is such a line.
func field(root fs.FS, name, begin string) (string, bool) {
	b, err := fs.ReadFile(root, name)
	if err != nil {
		return "", false
	}
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), begin); ok {
			word, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
			return word, true
		}
	}
	return "", false
}

// number returns a field that is a number.
func number(root fs.FS, name, begin string) (n int64, ok bool) {
	word, ok := field(root, name, begin)
	if _, err := fmt.Sscan(word, &n); err != nil {
		return 0, false
	}
	return n, ok
}

// mib writes bytes as MiB, one decimal.
func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
