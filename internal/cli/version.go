package cli

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"mustafar/backend/cpu"
	"mustafar/backend/cuda"
)

// versionCommand says what this program is and what it can run on.
func versionCommand(ctx context.Context, e *env, args []string) error {
	f := newFlags("version")
	var lib string
	f.in("Device")
	f.str(&lib, "cuda-lib", "FILE", "the CUDA library", "")
	if words, err := f.parse(e, args); err != nil || len(words) > 0 {
		if err == nil {
			err = usagef("version takes no words, got %q", words)
		}
		return ignoreHelp(err)
	}
	fmt.Fprintf(e.stdout, "mustafar %s, %s %s/%s\n", buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	b, err := cpu.New(cpu.Options{})
	if err != nil {
		return err
	}
	defer b.Close()
	fmt.Fprintf(e.stdout, "cpu:  %s (levels: %v)\n", b.Info(), cpu.Levels())
	if l, err := cuda.Open(lib); err != nil {
		fmt.Fprintf(e.stdout, "cuda: none: %v\n", err)
	} else {
		fmt.Fprintf(e.stdout, "cuda: %s, ABI %d\n", l.Path, l.ABI)
	}
	return nil
}

// buildVersion names the commit this was built from, as far as the build knows.
func buildVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	commit, dirty := "", ""
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			commit = s.Value[:min(12, len(s.Value))]
		case "vcs.modified":
			if s.Value == "true" {
				dirty = "+changes"
			}
		}
	}
	if commit == "" {
		return "devel"
	}
	return commit + dirty
}
