package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// flags is a command's flag set, with its flags in groups for the help.
type flags struct {
	cmd     string
	set     *flag.FlagSet
	group   string
	options []*option
	logFile string
}

// option is one flag under all its names.
type option struct {
	names                   []string // as one types them: -n, --predict
	group, arg, usage, init string
	given                   bool
}

func newFlags(cmd string) *flags {
	f := &flags{cmd: cmd, set: flag.NewFlagSet(cmd, flag.ContinueOnError)}
	f.set.SetOutput(io.Discard)
	return f
}

// in starts a group of the help.
func (f *flags) in(group string) { f.group = group }

// add registers a flag under its names, "-n, --predict"; set is called at every occurrence. A flag without arg is a switch and gets "true" or "false".
func (f *flags) add(names, arg, usage, init string, set func(string) error) {
	o := &option{strings.Split(names, ", "), f.group, arg, usage, init, false}
	f.options = append(f.options, o)
	seen := func(s string) error {
		o.given = true
		return set(s)
	}
	for _, name := range o.names {
		if name = strings.TrimLeft(name, "-"); arg == "" {
			f.set.BoolFunc(name, "", seen)
		} else {
			f.set.Func(name, "", seen)
		}
	}
}

func (f *flags) str(p *string, names, arg, usage, init string) {
	*p = init
	f.add(names, arg, usage, init, func(s string) error {
		*p = s
		return nil
	})
}

// choice is a flag that takes one of few words; words are they, separated by |.
func (f *flags) choice(p *string, names, words, usage, init string) {
	*p = init
	f.add(names, words, usage, init, func(s string) error {
		if !slices.Contains(strings.Split(words, "|"), s) {
			return errors.New("want " + strings.ReplaceAll(words, "|", " or "))
		}
		*p = s
		return nil
	})
}

// integer is a flag of a whole number, least or more.
func (f *flags) integer(p *int, names, usage string, init, least int) {
	*p = init
	f.add(names, "N", usage, strconv.Itoa(init), func(s string) error {
		n, err := strconv.Atoi(s)
		switch {
		case err != nil:
			return errors.New("want a whole number")
		case n < least:
			return fmt.Errorf("want %d or more", least)
		}
		*p = n
		return nil
	})
}

func (f *flags) float32(p *float32, names, usage string, init float32) {
	*p = init
	f.add(names, "X", usage, strconv.FormatFloat(float64(init), 'g', -1, 32), func(s string) error {
		x, err := strconv.ParseFloat(s, 32)
		if err != nil {
			return errors.New("want a number")
		}
		*p = float32(x)
		return nil
	})
}

func (f *flags) boolean(p *bool, names, usage string) {
	f.add(names, "", usage, "", func(s string) (err error) {
		if *p, err = strconv.ParseBool(s); err != nil {
			return errors.New("want nothing, or =true or =false")
		}
		return nil
	})
}

// given reports whether a flag stood on the command line, under any of its names.
func (f *flags) given(name string) bool {
	for _, o := range f.options {
		if slices.Contains(o.names, name) {
			return o.given
		}
	}
	panic("cli: no flag " + name)
}

// parse reads args, which may mix flags and words, and returns the words; behind -- all are words. From then on what goes to stderr also goes to
// the log file, if one is wanted.
func (f *flags) parse(e *env, args []string) (words []string, err error) {
	var color string
	f.in("Logging")
	f.str(&f.logFile, "--log-file", "FILE", "write what goes to stderr, but for progress bars, to a file too", "")
	f.choice(&color, "--color", "auto|on|off", "accepted for llama.cpp's sake: nothing here is coloured", "auto")
	for len(args) > 0 {
		err := f.set.Parse(args)
		if errors.Is(err, flag.ErrHelp) {
			f.printHelp(e.stdout)
			return nil, errHelp
		}
		if err != nil {
			return nil, usagef("%s: %v: run mustafar help %s", f.cmd, err, f.cmd)
		}
		rest := f.set.Args()
		if n := len(args) - len(rest); len(rest) == 0 || n > 0 && args[n-1] == "--" {
			words = append(words, rest...)
			break
		}
		words, args = append(words, rest[0]), rest[1:]
	}
	if f.logFile != "" {
		file, err := os.Create(f.logFile)
		if err != nil {
			return nil, fmt.Errorf("--log-file: %w", err)
		}
		e.stderr = io.MultiWriter(e.stderr, file)
	}
	return words, nil
}

// printHelp lists the flags by group: names, argument, meaning and, in parentheses, the default.
func (f *flags) printHelp(w io.Writer) {
	for _, c := range commands() {
		if c.name == f.cmd {
			fmt.Fprintf(w, "mustafar %s\n%s\n", strings.TrimSpace(c.name+" "+c.args), c.job)
		}
	}
	const width = 30
	group := ""
	for _, o := range f.options {
		if o.group != group {
			group = o.group
			fmt.Fprintf(w, "\n%s\n", group)
		}
		head, tail := strings.TrimSpace(strings.Join(o.names, ", ")+" "+o.arg), o.usage
		if o.init != "" {
			tail += " (" + o.init + ")"
		}
		if len(head) > width {
			head += fmt.Sprintf("\n%*s", width+2, "")
		}
		fmt.Fprintf(w, "  %-*s  %s\n", width, head, tail)
	}
}
