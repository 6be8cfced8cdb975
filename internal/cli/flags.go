package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// flags is a command's flag set, with its flags in groups for the help.
type flags struct {
	set    *flag.FlagSet
	cmd    string
	group  string
	listed []listed
}

type listed struct {
	group, names, arg, usage, def string
}

func newFlags(cmd string) *flags {
	f := &flags{set: flag.NewFlagSet(cmd, flag.ContinueOnError), cmd: cmd}
	f.set.SetOutput(io.Discard)
	return f
}

// in starts a group of the help.
func (f *flags) in(group string) { f.group = group }

// add registers one flag under all its names, separated by commas.
func (f *flags) add(names, arg, usage, def string, register func(name string)) {
	all := strings.Split(names, ",")
	for _, name := range all {
		register(name)
	}
	f.listed = append(f.listed, listed{f.group, dashed(all), arg, usage, def})
}

func dashed(names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = "-" + n
		if len(n) > 3 {
			out[i] = "--" + n
		}
	}
	return strings.Join(out, ", ")
}

func (f *flags) str(p *string, names, arg, usage, def string) {
	f.add(names, arg, usage, def, func(n string) { f.set.StringVar(p, n, def, "") })
}

func (f *flags) integer(p *int, names, usage string, def int) {
	f.add(names, "N", usage, strconv.Itoa(def), func(n string) { f.set.IntVar(p, n, def, "") })
}

func (f *flags) float32(p *float32, names, usage string, def float32) {
	*p = def
	f.add(names, "X", usage, strconv.FormatFloat(float64(def), 'g', -1, 32), func(n string) {
		f.set.Func(n, "", func(s string) error {
			v, err := strconv.ParseFloat(s, 32)
			*p = float32(v)
			return err
		})
	})
}

func (f *flags) boolean(p *bool, names, usage string) {
	f.add(names, "", usage, "", func(n string) { f.set.BoolVar(p, n, false, "") })
}

// each calls set for every occurrence of the flag.
func (f *flags) each(names, arg, usage, def string, set func(string) error) {
	f.add(names, arg, usage, def, func(n string) { f.set.Func(n, "", set) })
}

// given reports whether the flag of this name, or an alias that shares its variable, stood on the command line.
func (f *flags) given(names ...string) bool {
	found := false
	f.set.Visit(func(g *flag.Flag) {
		for _, n := range names {
			found = found || g.Name == n
		}
	})
	return found
}

// errHelp is returned by parse when help was asked for and printed.
var errHelp = errors.New("help")

// parse reads args, which may mix flags and words, and returns the words.
func (f *flags) parse(e *env, args []string) (words []string, err error) {
	for len(args) > 0 {
		if err := f.set.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				f.printHelp(e.stdout)
				return nil, errHelp
			}
			return nil, usagef("%s: %v: run mustafar help %s", f.cmd, err, f.cmd)
		}
		rest := f.set.Args()
		if len(rest) > 0 && len(args) > len(rest) && args[len(args)-len(rest)-1] == "--" {
			return append(words, rest...), nil
		}
		if len(rest) == 0 {
			break
		}
		words, args = append(words, rest[0]), rest[1:]
	}
	return words, nil
}

func (f *flags) printHelp(w io.Writer) {
	for _, c := range commands() {
		if c.name == f.cmd {
			fmt.Fprintf(w, "mustafar %s %s\n%s\n", c.name, c.args, c.job)
		}
	}
	group := ""
	for _, l := range f.listed {
		if l.group != group {
			group = l.group
			fmt.Fprintf(w, "\n%s\n", group)
		}
		head := strings.TrimSpace(l.names + " " + l.arg)
		def := ""
		if l.def != "" {
			def = " (" + l.def + ")"
		}
		if len(head) > 30 {
			fmt.Fprintf(w, "  %s\n  %30s  %s%s\n", head, "", l.usage, def)
		} else {
			fmt.Fprintf(w, "  %-30s  %s%s\n", head, l.usage, def)
		}
	}
}

// ignoreHelp turns errHelp into success.
func ignoreHelp(err error) error {
	if errors.Is(err, errHelp) {
		return nil
	}
	return err
}
