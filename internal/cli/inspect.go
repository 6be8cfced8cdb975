package cli

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"mustafar/gguf"
	"mustafar/kvcache"
	"mustafar/model"
)

// inspectCommand prints what a model file holds, and what its KV cache takes.
func inspectCommand(ctx context.Context, e *env, args []string) error {
	f := newFlags("inspect")
	var path, caches string
	var all bool
	f.in("What to print")
	addModelPath(f, &path)
	f.boolean(&all, "--tensors", "list every tensor")
	f.str(&caches, "--caches", "LIST", "caches to size, separated by commas", defaultCaches+",sparse:0.7:i4")
	c := addCacheNumbers(f)
	words, err := f.parse(e, args)
	if err != nil {
		return err
	}
	if len(words) == 1 && path == "" {
		path, words = words[0], nil
	}
	if len(words) > 0 {
		return usagef("inspect: %q: want one file", words)
	}
	policies, names, err := c.list(caches)
	if err != nil {
		return err
	}
	file, err := openModel(f.cmd, path)
	if err != nil {
		return err
	}
	defer file.Close()

	w := tabwriter.NewWriter(e.stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "GGUF v%d, %s, %d keys, %d tensors\n\n", file.Version, mib(file.Size()), len(file.Keys()), len(file.Tensors))
	for _, kv := range file.Keys() {
		fmt.Fprintf(w, "%s\t%s\n", kv.Key, shortValue(kv.Value))
	}
	fmt.Fprintln(w)
	printTypes(w, file)
	if all {
		fmt.Fprintln(w)
		for _, t := range file.Tensors {
			fmt.Fprintf(w, "%s\t%v\t%v\t%d\n", t.Name, t.Type, t.Shape, t.Bytes())
		}
	}
	if len(file.Tensors) == 0 {
		fmt.Fprintln(w, "a vocabulary without tensors")
		return w.Flush()
	}
	config, err := model.ReadConfig(file)
	if err != nil {
		w.Flush()
		return err
	}
	fmt.Fprintln(w)
	printKVSizes(w, config, policies, names)
	return w.Flush()
}

// printTypes sums the tensors up by type.
func printTypes(w *tabwriter.Writer, f *gguf.File) {
	type sum struct {
		n, bytes, elems int
	}
	sums := map[gguf.Type]sum{}
	for _, t := range f.Tensors {
		s := sums[t.Type]
		sums[t.Type] = sum{s.n + 1, s.bytes + t.Bytes(), s.elems + t.Elems()}
	}
	fmt.Fprint(w, "type\ttensors\tMiB\tparameters\n")
	for _, typ := range gguf.Types() {
		if s := sums[typ]; s.n > 0 {
			fmt.Fprintf(w, "%v\t%d\t%.1f\t%.1f M\n", typ, s.n, float64(s.bytes)/(1<<20), float64(s.elems)/1e6)
		}
	}
}

// printKVSizes says what one sequence's cache holds at some lengths.
func printKVSizes(w *tabwriter.Writer, c model.Config, policies []kvcache.Policy, names []string) {
	lengths := []int{512, 2048, 8192, 32768, 131072}
	for lengths[len(lengths)-1] > c.Ctx && len(lengths) > 1 {
		lengths = lengths[:len(lengths)-1]
	}
	if !slices.Contains(lengths, c.Ctx) {
		lengths = append(lengths, c.Ctx)
	}
	fmt.Fprint(w, "KV MiB at\t")
	for _, n := range lengths {
		fmt.Fprintf(w, "%d\t", n)
	}
	fmt.Fprint(w, "bytes a compressed token\n")
	for i, p := range policies {
		fmt.Fprintf(w, "%s\t", names[i])
		for _, n := range lengths {
			fmt.Fprintf(w, "%.1f\t", float64(p.Bytes(c.Shape(), n))/(1<<20))
		}
		fmt.Fprintf(w, "%d\n", c.Layers*c.KVHeads*(p.K.RowBytes(c.HeadDim)+p.V.RowBytes(c.HeadDim)))
	}
}

// shortValue writes a metadata value on one line: long texts and arrays by their beginning.
func shortValue(v any) string {
	const most = 60
	switch v := v.(type) {
	case string:
		return clip(strconv.Quote(v), most)
	case float32:
		return strconv.FormatFloat(float64(v), 'g', -1, 32)
	}
	r := reflect.ValueOf(v)
	if r.Kind() != reflect.Slice {
		return fmt.Sprint(v)
	}
	var b strings.Builder
	for i := range min(r.Len(), 8) {
		fmt.Fprintf(&b, "%s, ", shortValue(r.Index(i).Interface()))
	}
	return fmt.Sprintf("%d × %v: %s", r.Len(), r.Type().Elem(), clip(strings.TrimSuffix(b.String(), ", "), most))
}

// clip cuts a text behind n bytes, not within a rune.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n] + "…"
}
