package cli

import (
	"strings"

	"mustafar/kvcache"
	"mustafar/sparse"
)

// cacheFlags say how the KV cache is kept.
type cacheFlags struct {
	f             *flags
	cache         string
	sparsity      string
	ctk, ctv      string
	values        string
	window, group int
	sinks         int
	prefill       string
}

func addCacheFlags(f *flags) *cacheFlags {
	c := &cacheFlags{f: f}
	f.in("KV cache")
	f.str(&c.cache, "--cache", "NAME[:S]", "dense, paper[:S] (Mustafar: K and V pruned at S, fp16 values, no sinks), or a codec for both", "dense")
	f.str(&c.sparsity, "--sparsity", "S", "K and V pruned at S, the fraction of channels dropped, int8 values, 4 sinks; with --cache paper only sets S", "")
	f.str(&c.ctk, "-ctk, --cache-type-k", "CODEC", "of K alone: f16, i16, i8 or sparse:S[:f16|i16|i8|i4]", "")
	f.str(&c.ctv, "-ctv, --cache-type-v", "CODEC", "of V alone", "")
	c.addNumbers()
	f.choice(&c.prefill, "--prefill", "exact|streaming", "a prompt sees itself dense, layer by layer, or is compressed while it passes", "exact")
	return c
}

// addCacheNumbers registers the flags that go with a list of caches.
func addCacheNumbers(f *flags) *cacheFlags {
	c := &cacheFlags{f: f}
	f.in("KV cache")
	c.addNumbers()
	return c
}

func (c *cacheFlags) addNumbers() {
	f := c.f
	f.choice(&c.values, "--values", "f16|i16|i8|i4", "how kept values are stored where a codec does not say: i8, with paper f16", "")
	f.integer(&c.window, "--window", "newest tokens that stay dense", kvcache.DefaultWindow, 0)
	f.integer(&c.group, "--group", "tokens compressed together, a multiple of 64", kvcache.DefaultGroup, 1)
	f.integer(&c.sinks, "--sinks", "first tokens that stay dense; -1: 4 where anything is compressed, 0 with paper", -1, -1)
}

// policy puts the flags together: --cache and --sparsity name a cache, -ctk and -ctv win over it, then come the numbers.
func (c *cacheFlags) policy() (kvcache.Policy, error) {
	name := c.cache
	if c.f.given("--sparsity") {
		_, err := sparse.ParseSparsity(c.sparsity)
		switch {
		case err != nil:
			return kvcache.Policy{}, usagef("--%v", err)
		case isPaper(name):
			name = "paper:" + c.sparsity
		case c.f.given("--cache"):
			return kvcache.Policy{}, usagef("--cache %s and --sparsity: give one of them", name)
		default:
			name = "sparse:" + c.sparsity
		}
	}
	p, err := c.named(name)
	if err != nil {
		return p, err
	}
	for _, x := range []struct {
		flag, text string
		codec      *sparse.Codec
	}{{"-ctk", c.ctk, &p.K}, {"-ctv", c.ctv, &p.V}} {
		if c.f.given(x.flag) {
			if *x.codec, err = sparse.Parse(x.text, c.valuesOr(sparse.I8)); err != nil {
				return p, usagef("%s: %v", x.flag, err)
			}
		}
	}
	if c.values != "" && !p.K.Pruned && !p.V.Pruned {
		return p, usagef("--values %s: nothing is pruned: give --sparsity S as well", c.values)
	}
	return c.numbers(p, isPaper(name))
}

// isPaper reports whether a cache is called paper or paper:S.
func isPaper(name string) bool {
	kind, _, _ := strings.Cut(name, ":")
	return kind == "paper"
}

// named returns the policy of a cache's name; where that does not say how kept values are stored, --values does.
func (c *cacheFlags) named(name string) (kvcache.Policy, error) {
	p, err := kvcache.Named(name)
	if _, number, ok := strings.Cut(name, ":"); ok && err != nil && strings.Count(name, ":") == 1 {
		if _, bad := sparse.ParseSparsity(number); bad != nil { // the nearer reason
			err = bad
		}
	}
	if err != nil {
		return p, usagef("%v", err)
	}
	if p.K.Pruned && strings.Count(name, ":") < 2 { // paper, paper:S, sparse:S
		p.K.Values = c.valuesOr(p.K.Values)
		p.V.Values = p.K.Values
	}
	return p, nil
}

// valuesOr returns what --values names, else def.
func (c *cacheFlags) valuesOr(def sparse.Values) sparse.Values {
	if v, err := sparse.ParseValues(c.values); err == nil {
		return v
	}
	return def
}

// numbers puts window, group, sinks and the kind of prefill into a policy.
func (c *cacheFlags) numbers(p kvcache.Policy, paper bool) (kvcache.Policy, error) {
	p.Window, p.Group, p.Streaming = c.window, c.group, c.prefill == "streaming"
	switch {
	case c.sinks >= 0:
		p.Sinks = c.sinks
	case p.Compacts() && !paper:
		p.Sinks = kvcache.DefaultSinks
	default:
		p.Sinks = 0
	}
	if err := p.Validate(); err != nil {
		return p, usagef("--%v", err)
	}
	return p, nil
}

// defaultCaches are what commands compare that take a list.
const defaultCaches = "dense,paper:0.5,paper:0.7,sparse:0.5,sparse:0.7"

// list returns the policies of caches named in a list, separated by commas.
func (c *cacheFlags) list(caches string) (policies []kvcache.Policy, names []string, err error) {
	for name := range strings.SplitSeq(caches, ",") {
		name = strings.TrimSpace(name)
		p, err := c.named(name)
		if err == nil {
			p, err = c.numbers(p, isPaper(name))
		}
		if err != nil {
			return nil, nil, usagef("--caches: %v", err)
		}
		policies, names = append(policies, p), append(names, name)
	}
	return policies, names, nil
}
