//go:build unix

package cli

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// running is the program while it runs.
type running struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdout *bufio.Reader
	mu     sync.Mutex
	stderr bytes.Buffer
	lines  chan struct{} // stderr has grown
}

// start runs the program with pipes on its outputs.
func start(t *testing.T, stdin io.Reader, args ...string) *running {
	t.Helper()
	r := &running{t: t, cmd: exec.Command("mustafar", args...), lines: make(chan struct{}, 1)}
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	r.cmd.Stdin, r.cmd.Stderr, r.stdout = stdin, r, bufio.NewReader(out)
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.cmd.Process.Kill() })
	return r
}

// Write takes stderr.
func (r *running) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stderr.Write(b)
	select {
	case r.lines <- struct{}{}:
	default:
	}
	return len(b), nil
}

func (r *running) errors() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stderr.String()
}

// says waits until stderr holds text.
func (r *running) says(text string) {
	r.t.Helper()
	for late := time.After(20 * time.Second); !strings.Contains(r.errors(), text); {
		select {
		case <-r.lines:
		case <-late:
			r.t.Fatalf("stderr is %q, want %q in it", r.errors(), text)
		}
	}
}

func (r *running) signal(s os.Signal) {
	r.t.Helper()
	if err := r.cmd.Process.Signal(s); err != nil {
		r.t.Fatal(err)
	}
}

// ends waits for the end, which must come within a time, and returns what was left of stdout.
func (r *running) ends(within time.Duration) (rest string, state *os.ProcessState) {
	r.t.Helper()
	at := time.Now()
	late := time.AfterFunc(within+20*time.Second, func() { r.cmd.Process.Kill() })
	defer late.Stop()
	b, _ := io.ReadAll(r.stdout)
	r.cmd.Wait()
	if took := time.Since(at); took > within {
		r.t.Errorf("it took %v to end, want %v at most", took, within)
	}
	if e := r.errors(); strings.Contains(e, "goroutine ") || strings.Contains(e, "panic") {
		r.t.Errorf("stderr is %q, want no stack trace", e)
	}
	return string(b), r.cmd.ProcessState
}

// soon is how long a run may take to end once it is interrupted: a chunk of a prompt passes a layer, and some for a busy machine.
const soon = 2 * time.Second

func TestInterruptedPrompt(t *testing.T) {
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		for _, format := range []string{"text", "json"} {
			t.Run(s.String()+" "+format, func(t *testing.T) {
				r := start(t, nil, "run", "-m", demoModel(t), "-f", longPrompt(t, 4000), "-n", "4", "-o", format, "-v")
				r.says("prompt of 4000 tokens")
				time.Sleep(500 * time.Millisecond)
				r.signal(s)
				out, state := r.ends(soon)
				if code := state.ExitCode(); code != exitInterrupted {
					t.Errorf("exit %d, want %d", code, exitInterrupted)
				}
				if want := map[string]string{"text": "\n", "json": `{"text":"","tokens":[],"prompt_tokens":4000,"stop":"interrupt",`}[format]; !strings.HasPrefix(out, want) {
					t.Errorf("stdout is %q, want %q", out, want)
				}
				if e := r.errors(); !strings.Contains(e, "mustafar_perf: prompt eval time = ") || strings.Contains(e, "/  4000 tokens") {
					t.Errorf("stderr is %q, want timings of the part that passed", e)
				}
			})
		}
	}
}

func TestInterruptedAnswer(t *testing.T) {
	r := start(t, nil, "run", "-m", demoModel(t), "-p", "Once upon a time", "-n", "-1", "--ignore-eos", "-s", "1")
	begin := make([]byte, 40)
	if _, err := io.ReadFull(r.stdout, begin); err != nil {
		t.Fatal(err)
	}
	r.signal(os.Interrupt)
	rest, state := r.ends(soon)
	if code := state.ExitCode(); code != exitInterrupted {
		t.Errorf("exit %d, want %d", code, exitInterrupted)
	}
	if !strings.HasSuffix(rest, "\n") {
		t.Errorf("stdout ends with %q, want a newline", rest)
	}
	if e := r.errors(); !strings.Contains(e, "eval time = ") || !strings.Contains(e, "mustafar_perf: kv = ") {
		t.Errorf("stderr is %q, want timings", e)
	}
}

// One chunk of 4,000 tokens cannot be left before it is through: the second signal ends the program as it is.
func TestSecondInterrupt(t *testing.T) {
	r := start(t, nil, "run", "-m", demoModel(t), "-f", longPrompt(t, 4000), "-ub", "4000", "-v")
	r.says("prompt of 4000 tokens")
	time.Sleep(300 * time.Millisecond)
	r.signal(os.Interrupt)
	time.Sleep(300 * time.Millisecond)
	r.signal(os.Interrupt)
	_, state := r.ends(time.Second)
	if s := state.Sys().(syscall.WaitStatus); !s.Signaled() || s.Signal() != syscall.SIGINT {
		t.Errorf("it ended with %v, want by the signal", state)
	}
}

// Whoever waits for a prompt that never comes can be interrupted too.
func TestInterruptedWait(t *testing.T) {
	never, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	defer never.Close()
	for _, args := range [][]string{{"run"}, {"tokenize"}, {"compare"}} {
		r := start(t, never, append(args, "-m", demoModel(t))...)
		time.Sleep(300 * time.Millisecond)
		r.signal(os.Interrupt)
		if _, state := r.ends(time.Second); state.ExitCode() != exitInterrupted {
			t.Errorf("%s: %v, want exit status %d", args[0], state, exitInterrupted)
		}
	}
}

// Perplexity tells what it has.
func TestInterruptedPerplexity(t *testing.T) {
	r := start(t, nil, "perplexity", "-m", demoModel(t), "-f", longPrompt(t, 4000), "--ctx", "32", "-o", "json", "--log-file", filepath.Join(t.TempDir(), "log"))
	time.Sleep(2 * time.Second)
	r.signal(os.Interrupt)
	out, state := r.ends(soon)
	if state.ExitCode() != exitInterrupted {
		t.Errorf("%v, want exit status %d", state, exitInterrupted)
	}
	if !strings.HasPrefix(out, `{"tokens":`) || !strings.Contains(r.errors(), "interrupted: what follows is of the first ") {
		t.Errorf("stdout is %q, stderr %q, want what was measured so far", out, r.errors())
	}
}

// A comparison prints what is complete.
func TestInterruptedComparison(t *testing.T) {
	r := start(t, nil, "compare", "-m", demoModel(t), "-p", "Once upon a time", "-n", "40", "--caches", "dense,paper:0.5")
	r.says("── paper:0.5 ──")
	r.signal(os.Interrupt)
	out, state := r.ends(soon)
	if state.ExitCode() != exitInterrupted {
		t.Errorf("%v, want exit status %d", state, exitInterrupted)
	}
	if !strings.Contains(out, "| dense ") || strings.Contains(out, "| paper:0.5 ") {
		t.Errorf("stdout is %q, want the row of the first cache", out)
	}
}

// A reader that goes away ends the run, quietly.
func TestReaderGoes(t *testing.T) {
	cmd := exec.Command("mustafar", "run", "-m", demoModel(t), "-p", "Once upon a time", "-n", "-1", "--ignore-eos")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	if _, err := io.ReadFull(out, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	out.Close()
	cmd.Wait()
	if s := cmd.ProcessState.Sys().(syscall.WaitStatus); !s.Signaled() || s.Signal() != syscall.SIGPIPE || stderr.Len() > 0 {
		t.Errorf("it ended with %v and said %q, want SIGPIPE and nothing", cmd.ProcessState, stderr.String())
	}
}
