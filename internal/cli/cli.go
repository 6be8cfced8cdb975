// Package cli is the command line: a file a command, flags by group, and what they share. stdout carries the answer, stderr the rest.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"golang.org/x/term"
)

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

// command is one task of the program.
type command struct {
	name, args, job string
	run             func(ctx context.Context, e *env, args []string) error
}

// commands in the order of the help.
func commands() []command {
	return []command{
		{"run", "-m MODEL (-p TEXT | -f FILE | stdin)", "complete one prompt and stream the text", runCommand},
		{"compare", "-m MODEL (-p TEXT | -f FILE | stdin) [--caches LIST]", "dense against sparse on the same prompt: memory, speed, divergence, text", compareCommand},
		{"perplexity", "-m MODEL (-f FILE | --ids IDS.json) [--kl]", "perplexity, and KL divergence from the dense cache", perplexityCommand},
		{"inspect", "MODEL", "metadata, tensors and types, KV bytes at context lengths under each cache", inspectCommand},
		{"tokenize", "-m MODEL (TEXT | -f FILE | stdin)", "ids of a text, one JSON array on one line", tokenizeCommand},
		{"version", "", "build, CPU level, CUDA library and device", versionCommand},
		{"help", "[COMMAND]", "the tasks, or a command's flags with their defaults", helpCommand},
	}
}

// env is where a command reads and writes.
type env struct {
	stdin    io.Reader
	stdout   *output
	stderr   io.Writer
	terminal *os.File // stderr itself where that is a terminal: progress bars may be drawn; nil elsewhere
}

// output is stdout. Its first failure sticks, makes later writes do nothing, and is reported by Main: a command need not look at every write.
type output struct {
	w   io.Writer
	err error
}

func (o *output) Write(b []byte) (n int, err error) {
	if o.err == nil {
		n, o.err = o.w.Write(b)
	}
	return n, o.err
}

// usageError marks errors in the words of a command line.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

var (
	// errInterrupted is returned by a command that Ctrl-C ended cleanly.
	errInterrupted = errors.New("interrupted")
	// errHelp is returned by a command that printed its help instead.
	errHelp = errors.New("help")
)

// Main runs the program with the arguments behind its name and returns its exit code.
func Main(args []string) (code int) {
	e := &env{stdin: os.Stdin, stdout: &output{w: os.Stdout}, stderr: os.Stderr}
	if term.IsTerminal(int(os.Stderr.Fd())) {
		e.terminal = os.Stderr
	}
	defer func() {
		if r := recover(); r != nil {
			if err, ok := r.(error); ok && errors.Is(err, syscall.ENOMEM) {
				fmt.Fprintf(e.stderr, "mustafar: out of memory: %v: give a smaller context (-c) or a sparser cache (--sparsity)\n", err)
				code = exitFailed
				return
			}
			fmt.Fprintf(e.stderr, "mustafar: internal error: %v (this is a bug: please report it with the command line; MUSTAFAR_TRACE=1 shows where)\n", r)
			if os.Getenv("MUSTAFAR_TRACE") != "" {
				e.stderr.Write(debug.Stack())
			}
			code = exitFailed
		}
	}()
	signals := []os.Signal{syscall.SIGTERM}
	if !signal.Ignored(os.Interrupt) { // a shell's background job leaves Ctrl-C to others
		signals = append(signals, os.Interrupt)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	err := dispatch(ctx, e, args)
	if e.stdout.err != nil {
		err = fmt.Errorf("writing the answer: %w", e.stdout.err)
	}
	return exitCode(e, err)
}

func exitCode(e *env, err error) int {
	var usage usageError
	switch {
	case err == nil, errors.Is(err, errHelp):
		return exitOK
	case errors.Is(err, errInterrupted), errors.Is(err, context.Canceled):
		return exitInterrupted
	}
	fmt.Fprintf(e.stderr, "mustafar: %s\n", strings.ReplaceAll(err.Error(), "\n", "; "))
	if errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailed
}

func dispatch(ctx context.Context, e *env, args []string) error {
	if len(args) == 0 {
		return helpCommand(ctx, e, nil)
	}
	name, rest := args[0], args[1:]
	switch name {
	case "-h", "-help", "--help":
		name = "help"
	case "-version", "--version":
		name = "version"
	}
	var names []string
	for _, c := range commands() {
		if c.name == name {
			return c.run(ctx, e, rest)
		}
		names = append(names, c.name)
	}
	return usagef("%q is no command (have %s): run mustafar help", name, strings.Join(names, ", "))
}

// helpCommand prints the tasks, or the help of one.
func helpCommand(ctx context.Context, e *env, args []string) error {
	if len(args) > 0 && args[0] != "help" {
		return dispatch(ctx, e, []string{args[0], "-h"})
	}
	fmt.Fprint(e.stdout, "mustafar runs Llama and Mistral models from GGUF files with a bitmap-sparse KV cache.\n\n")
	for _, c := range commands() {
		fmt.Fprintf(e.stdout, "  %s\n  %20s %s\n", strings.TrimSpace(fmt.Sprintf("mustafar %-11s %s", c.name, c.args)), "", c.job)
	}
	fmt.Fprint(e.stdout, "\nExit: 0 good, 1 failed, 2 wrong usage, 130 interrupted.\n")
	return nil
}
