package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs the command lines of testdata/script against the program. MODEL is the demo model.
func TestScripts(t *testing.T) {
	model := demoModel(t)
	testscript.Run(t, testscript.Params{
		Dir:                "testdata/script",
		RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("MODEL", model)
			e.Setenv("MUSTAFAR_CUDA_LIB", "")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"fails": cmdFails, "randmodel": cmdRandModel, "truncate": cmdTruncate, "json": cmdJSON, "utf16": cmdUTF16,
		},
	})
}

// cmdFails is `fails CODE COMMAND…`: the command exits with the code, says so in one line on stderr, and writes nothing on stdout.
func cmdFails(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); !errors.As(err, &exit) || exit.ExitCode() != want {
		ts.Fatalf("got %v, want exit status %d", err, want)
	}
	line := ts.ReadFile("stderr")
	if !strings.HasPrefix(line, "mustafar: ") || strings.Count(line, "\n") != 1 || !strings.HasSuffix(line, "\n") {
		ts.Fatalf("stderr is %q, want one line", line)
	}
	if out := ts.ReadFile("stdout"); out != "" {
		ts.Fatalf("stdout is %q, want nothing", out)
	}
}

// cmdRandModel is `randmodel FILE [DAMAGE]`: see writeModel.
func cmdRandModel(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(writeModel(ts.MkAbs(args[0]), small, strings.Join(args[1:], "")))
}

// cmdTruncate is `truncate FILE BYTES`.
func cmdTruncate(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	ts.Check(os.Truncate(ts.MkAbs(args[0]), n))
}

// cmdUTF16 is `utf16 FILE`: it writes a text in UTF-16.
func cmdUTF16(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte("\xff\xfeh\x00i\x00"), 0o666))
}

// cmdJSON is `json FILE keys KEY…`, every line of the file is an object with exactly these keys, a.b those of the object a, or
// `json FILE PATH VALUE`, the value at the path in its first line, as JSON.
func cmdJSON(ts *testscript.TestScript, _ bool, args []string) {
	lines := strings.Split(strings.TrimSuffix(ts.ReadFile(args[0]), "\n"), "\n")
	objects := make([]map[string]any, len(lines))
	for i, line := range lines {
		if err := json.Unmarshal([]byte(line), &objects[i]); err != nil {
			ts.Fatalf("line %d is %q: %v", i+1, line, err)
		}
	}
	if args[1] != "keys" {
		got, err := json.Marshal(at(objects[0], args[1]))
		ts.Check(err)
		if string(got) != args[2] {
			ts.Fatalf("%s is %s, want %s", args[1], got, args[2])
		}
		return
	}
	for i, o := range objects {
		got, want := keysOf(o, ""), slices.Sorted(slices.Values(args[2:]))
		if !slices.Equal(got, want) {
			ts.Fatalf("line %d has the keys %q, want %q", i+1, got, want)
		}
	}
}

func at(v any, path string) any {
	for key := range strings.SplitSeq(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[key]
		case []any:
			i, _ := strconv.Atoi(key)
			v = x[i]
		default:
			return fmt.Sprintf("nothing at %s", path)
		}
	}
	return v
}

// keysOf returns the keys of an object, sorted; those of the objects in it behind theirs.
func keysOf(o map[string]any, prefix string) (keys []string) {
	for _, k := range slices.Sorted(maps.Keys(o)) {
		if inner, ok := o[k].(map[string]any); ok {
			keys = append(keys, keysOf(inner, k+".")...)
		} else {
			keys = append(keys, prefix+k)
		}
	}
	slices.Sort(keys)
	return keys
}
