package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openTerminal opens a pseudo-terminal of 100 columns: what a person sees and types, and what a program has.
func openTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { person.Close() })
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(int(person.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 30, Col: 100})
	}
	if err == nil {
		program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	return person, program
}

// seen collects what a person sees until the program has closed its terminal.
func seen(person, program *os.File) <-chan string {
	program.Close() // the child has its own
	all := make(chan string, 1)
	go func() {
		var b bytes.Buffer
		io.Copy(&b, person) // ends with EIO
		all <- b.String()
	}()
	return all
}

// A bar is drawn while a long prompt passes, on a terminal, and taken away; the answer never shares its line.
func TestProgressBar(t *testing.T) {
	person, program := openTerminal(t)
	var stdout strings.Builder
	cmd := exec.Command("mustafar", "run", "-m", demoModel(t), "-f", longPrompt(t, 2000), "-n", "1", "--temp", "0", "-ub", "100")
	cmd.Stdout, cmd.Stderr = &stdout, program
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	screen := seen(person, program)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	all := <-screen
	if !strings.Contains(all, "reading the prompt") || !strings.Contains(all, "/2000") || !strings.Contains(all, "\r") {
		t.Fatalf("the terminal shows %q, want a bar", all)
	}
	last := all[strings.LastIndex(all, "reading the prompt"):]
	if bar, after, ok := strings.Cut(last, "mustafar_perf: prompt eval time"); !ok || !strings.Contains(bar, "\r") || strings.Contains(after, "\x1b") {
		t.Errorf("the terminal ends with %q, want the bar gone before the timings", last)
	}
	if strings.ContainsAny(stdout.String(), "\r\x1b") {
		t.Errorf("stdout is %q, want no control codes", stdout.String())
	}
}

// In a pipe, nothing of the kind, even where stdout is a terminal.
func TestNoProgressBarInPipe(t *testing.T) {
	person, program := openTerminal(t)
	var stderr strings.Builder
	cmd := exec.Command("mustafar", "perplexity", "-m", demoModel(t), "-f", longPrompt(t, 200), "--ctx", "200")
	cmd.Stdout, cmd.Stderr = program, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	screen := seen(person, program)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if all := <-screen; !strings.HasPrefix(all, "Final estimate: PPL = ") || strings.Contains(all, "\x1b") {
		t.Errorf("the terminal shows %q, want the estimate alone", all)
	}
	if strings.ContainsAny(stderr.String(), "\r\x1b") || strings.Count(stderr.String(), "\n") != 1 {
		t.Errorf("stderr is %q, want one plain line", stderr.String())
	}
}

// Ctrl-C typed at a terminal, while the prompt's bar is drawn.
func TestCtrlC(t *testing.T) {
	person, program := openTerminal(t)
	cmd := exec.Command("mustafar", "run", "-m", demoModel(t), "-f", longPrompt(t, 4000))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = program, program, program
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	screen := seen(person, program)
	time.Sleep(time.Second)
	if _, err := person.Write([]byte{3}); err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	cmd.Wait()
	if took := time.Since(at); took > soon || cmd.ProcessState.ExitCode() != exitInterrupted {
		t.Errorf("%v after %v, want exit status %d within %v", cmd.ProcessState, took, exitInterrupted, soon)
	}
	if all := <-screen; !strings.Contains(all, "mustafar_perf: kv = ") {
		t.Errorf("the terminal shows %q, want timings", all)
	}
}
