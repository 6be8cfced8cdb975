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
		{"compare", "-m MODEL (-p TEXT | -f FILE) [--caches LIST]", "dense against sparse on the same prompt: memory, speed, divergence, text", compareCommand},
		{"perplexity", "-m MODEL (-f FILE | --ids IDS.json) [--kl]", "perplexity, and KL divergence from the dense cache", perplexityCommand},
		{"inspect", "MODEL", "metadata, tensors and types, KV bytes at context lengths under each cache", inspectCommand},
		{"tokenize", "-m MODEL (TEXT | -f FILE | stdin)", "ids of a text, one JSON array on one line", tokenizeCommand},
		{"version", "", "build, CPU level, CUDA library and device", versionCommand},
	}
}

// env is where a command reads and writes.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	terminal       bool // stderr is one: progress bars may be drawn
}

// errUsage marks errors in the words of a command line.
type errUsage struct{ error }

func usagef(format string, args ...any) error { return errUsage{fmt.Errorf(format, args...)} }

// errInterrupted is returned by a command that Ctrl-C ended cleanly.
var errInterrupted = errors.New("interrupted")

// Main runs the program with the arguments behind its name and returns its exit code.
func Main(args []string) (code int) {
	e := &env{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, terminal: term.IsTerminal(int(os.Stderr.Fd()))}
	defer func() {
		if r := recover(); r != nil {
			fmt.Fprintf(e.stderr, "mustafar: internal error: %v (this is a bug: please report it with the command line; MUSTAFAR_TRACE=1 shows where)\n", r)
			if os.Getenv("MUSTAFAR_TRACE") != "" {
				e.stderr.Write(debug.Stack())
			}
			code = exitFailed
		}
	}()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	return exitCode(e, dispatch(ctx, e, args))
}

func exitCode(e *env, err error) int {
	var usage errUsage
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errInterrupted), errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &usage):
		fmt.Fprintf(e.stderr, "mustafar: %v\n", err)
		return exitUsage
	default:
		fmt.Fprintf(e.stderr, "mustafar: %v\n", err)
		return exitFailed
	}
}

func dispatch(ctx context.Context, e *env, args []string) error {
	if len(args) == 0 {
		printTasks(e.stdout)
		return nil
	}
	name, rest := args[0], args[1:]
	switch name {
	case "help", "-h", "-help", "--help":
		if len(rest) == 0 {
			printTasks(e.stdout)
			return nil
		}
		name, rest = rest[0], []string{"-h"}
	case "-version", "--version":
		name = "version"
	}
	for _, c := range commands() {
		if c.name == name {
			return c.run(ctx, e, rest)
		}
	}
	var names []string
	for _, c := range commands() {
		names = append(names, c.name)
	}
	return usagef("%q is no command (have %s): run mustafar help", name, strings.Join(names, ", "))
}

func printTasks(w io.Writer) {
	fmt.Fprint(w, "mustafar runs Llama and Mistral models from GGUF files with a bitmap-sparse KV cache.\n\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  mustafar %-11s %s\n  %20s %s\n", c.name, c.args, "", c.job)
	}
	fmt.Fprint(w, "\nmustafar help COMMAND lists its flags with their defaults.\n")
}
