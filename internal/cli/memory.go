package cli

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"mustafar/kvcache"
	"mustafar/model"
)

// fitContext returns the context to run with: what -c asks for, which must fit the memory that is free, or the model's, or as much of it as fits.
func (m *modelFlags) fitContext(e *env, mod *model.Model, policies []kvcache.Policy) (int, error) {
	if m.ctx < 0 || m.chunk < 1 {
		return 0, usagef("-c %d, -ub %d: want 0 or more tokens, and at least 1", m.ctx, m.chunk)
	}
	ctx := m.ctx
	if ctx == 0 {
		ctx = mod.Ctx
	}
	free, known := freeMemory()
	if !known {
		return ctx, nil
	}
	fits := func(n int) (int64, bool) {
		need := need(mod, policies, n)
		return need, need <= free
	}
	bytes, ok := fits(ctx)
	if ok {
		return ctx, nil
	}
	most := 0
	for step := 1 << 30; step > 0; step /= 2 {
		if _, ok := fits(most + step); ok && most+step <= ctx {
			most += step
		}
	}
	if m.ctx > 0 || most < 256 {
		return 0, fmt.Errorf("a context of %d tokens needs %s of KV cache and prompt memory, %s are free: want -c %d at most, or a sparser cache (--sparsity)",
			ctx, mib(bytes), mib(free), most)
	}
	fmt.Fprintf(e.stderr, "mustafar: context %d of the model's %d tokens: more does not fit the %s that are free\n", most, ctx, mib(free))
	return most, nil
}

// need is the most memory that caches of these policies take at n tokens: every layer as the policy holds it, one of them dense while a prompt passes,
// and the prompt's hidden states.
func need(mod *model.Model, policies []kvcache.Policy, n int) (total int64) {
	s := mod.Shape()
	for _, p := range policies {
		total += p.Bytes(s, n)
	}
	one := s
	one.Layers = 1
	return total + kvcache.Dense.Bytes(one, n) + 4*int64(n)*int64(mod.Embd)
}

// freeMemory returns the memory that can be taken without swapping, where the system tells.
func freeMemory() (int64, bool) {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0, false
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), "MemAvailable:"); ok {
			var kib int64
			if _, err := fmt.Sscan(rest, &kib); err == nil {
				return kib << 10, true
			}
		}
	}
	return 0, false
}

// mib writes bytes as MiB, one decimal.
func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
