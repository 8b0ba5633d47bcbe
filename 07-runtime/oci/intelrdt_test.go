//go:build linux

package oci

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// The machines of the tests have no resctrl. Its directories and files are
// ordinary ones here: what is written where is what counts.

func newResctrl(t *testing.T) string {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "gold", "mon_groups"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "gold", "schemata"), []byte("    MB:0=20\n    L3:0=7f0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return root
}

func TestRDTClasses(t *testing.T) {
	for name, c := range map[string]struct {
		config     specs.LinuxIntelRdt
		want       map[string]string // files below the mount point
		left, gone string            // after leave
		err        string
	}{
		"of its own": {
			specs.LinuxIntelRdt{L3CacheSchema: "L3:0=f", MemBwSchema: "MB:0=50"},
			map[string]string{"box/tasks": "7\n", "box/schemata": "MB:0=50\n"}, "", "box", "",
		},
		"all schemata, in order": {
			specs.LinuxIntelRdt{L3CacheSchema: "L3:0=f", Schemata: []string{"L2:0=f"}},
			map[string]string{"box/schemata": "L2:0=f\n"}, "", "box", "",
		},
		"one that exists":       {specs.LinuxIntelRdt{ClosID: "gold"}, map[string]string{"gold/tasks": "7\n"}, "gold", "", ""},
		"one with the same":     {specs.LinuxIntelRdt{ClosID: "gold", L3CacheSchema: "L3:0=7f0"}, map[string]string{"gold/tasks": "7\n"}, "gold", "", ""},
		"one with another":      {specs.LinuxIntelRdt{ClosID: "gold", L3CacheSchema: "L3:0=1"}, nil, "gold", "", `and not "L3:0=1"`},
		"one that is not there": {specs.LinuxIntelRdt{ClosID: "tin"}, nil, "", "tin", `closID "tin": no such class`},
		"one that is made":      {specs.LinuxIntelRdt{ClosID: "tin", L3CacheSchema: "L3:0=1"}, map[string]string{"tin/tasks": "7\n", "tin/schemata": "L3:0=1\n"}, "tin", "", ""},
		"the default one":       {specs.LinuxIntelRdt{ClosID: "/"}, map[string]string{"tasks": "7\n"}, "gold", "", ""},
		"with monitoring":       {specs.LinuxIntelRdt{ClosID: "gold", EnableMonitoring: true}, map[string]string{"gold/mon_groups/box/tasks": "7\n"}, "gold", "gold/mon_groups/box", ""},
		"no room for a monitor": {specs.LinuxIntelRdt{EnableMonitoring: true}, nil, "", "box", "mon_groups/box: no such file or directory"},
	} {
		t.Run(name, func(t *testing.T) {
			root := newResctrl(t)
			r, err := joinRDT(t.Context(), root, "box", &c.config, 7)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("got %v, want %q", err, c.err)
				}
			} else if err != nil {
				t.Fatal(err)
			}
			for file, want := range c.want {
				if got, _ := os.ReadFile(filepath.Join(root, file)); string(got) != want {
					t.Errorf("%s: %q, want %q", file, got, want)
				}
			}
			if r != nil {
				emptyFiles(t, r)
				if err := r.leave(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := os.Stat(filepath.Join(root, c.left)); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(filepath.Join(root, c.gone)); c.gone != "" && err == nil && c.err == "" {
				t.Errorf("%s is left", c.gone)
			}
		})
	}
}

// emptyFiles removes the files of directories that are to go: those of resctrl
// go with them.
func emptyFiles(t *testing.T, r *rdt) {
	t.Helper()
	for _, dir := range []string{r.Monitor, map[bool]string{true: r.Class}[r.Made]} {
		if dir != "" {
			os.Remove(filepath.Join(dir, "tasks"))
			os.Remove(filepath.Join(dir, "schemata"))
		}
	}
}

func TestRDTRefusals(t *testing.T) {
	for want, r := range map[string]specs.LinuxIntelRdt{
		`linux.intelRdt.closID: "../gold": want a name`:   {ClosID: "../gold"},
		`linux.intelRdt.memBwSchema: "0=20": want a line`: {MemBwSchema: "0=20"},
		`want one line for each schema`:                   {Schemata: []string{"L3:0=f\nL3:1=f"}},
		"Intel RDT is not supported or enabled":           {ClosID: "gold"},
	} {
		if resctrl() != "" {
			t.Skip("this machine has resctrl")
		}
		if err := checkRDT(&r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, err := joinRDT(t.Context(), newResctrl(t), "box", &specs.LinuxIntelRdt{ClosID: "tin"}, 7); !errdefs.IsNotFound(err) {
		t.Errorf("got %v, want NotFound", err)
	}
}
