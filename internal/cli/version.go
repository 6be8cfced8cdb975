package cli

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"mustafar/backend/cpu"
	"mustafar/backend/cuda"
)

// versionCommand says what this program is and what it can run on.
func versionCommand(ctx context.Context, e *env, args []string) error {
	f := newFlags("version")
	var lib string
	f.in("Device")
	addCUDALib(f, &lib)
	words, err := f.parse(e, args)
	if err != nil {
		return err
	}
	if len(words) > 0 {
		return usagef("version: %q: want flags alone", words[0])
	}
	fmt.Fprintf(e.stdout, "mustafar %s, %s %s/%s\n", buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	b, err := cpu.New(cpu.Options{})
	if err != nil {
		return err
	}
	defer b.Close()
	fmt.Fprintf(e.stdout, "cpu:  %s (levels: %v)\n", b.Info(), cpu.Levels())
	if l, err := cuda.Open(lib); err != nil {
		fmt.Fprintf(e.stdout, "cuda: none: %s\n", strings.TrimPrefix(err.Error(), "cuda: "))
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
	if commit == "" { // built from a module's source, or without version control
		return info.Main.Version
	}
	return commit + dirty
}
