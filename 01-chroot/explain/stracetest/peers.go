//go:build linux

package stracetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/hosttest"
)

// Table holds the table of a README whose first heading is "strace sees": the
// calls of several programs side by side. Each further column is named for a
// program, `jail --pivot` or "runc 1.1.5", and argv has, by the name's first word,
// what to run. In a cell stand the calls, in backticks, that strace sees the
// program make, in this order; a cell "–" says that it makes none of those that
// its neighbours make.
//
// A column with a version is skipped where another version is installed, or none.
func Table(t *testing.T, readme string, argv func(t *testing.T, program string) []string) {
	t.Helper()
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	rows := tableOf(string(text))
	if len(rows) < 2 {
		t.Fatalf(`%s has no table whose first heading is "strace sees"`, readme)
	}
	for i, heading := range rows[0] {
		if i == 0 {
			continue
		}
		name, version, _ := strings.Cut(strings.Trim(heading, "`"), " ")
		t.Run(name, func(t *testing.T) {
			hosttest.Require(t, hosttest.Root, hosttest.Program("strace"))
			if regexp.MustCompile(`^\d`).MatchString(version) {
				hosttest.Require(t, hosttest.Program(name), ofVersion(name, version))
			}
			trace := traceOf(t, argv(t, name))
			for _, row := range rows[1:] {
				if problem := row.check(i, trace); problem != "" {
					t.Errorf("%s: %q: %s: %s", readme, row[0], name, problem)
				}
			}
		})
	}
}

// row is a line of the table, its first cell what the calls are for.
type row []string

// check returns "" when the cell i is true of the trace, or what is not.
func (r row) check(i int, trace []byte) string {
	if strings.TrimSpace(r[i]) != "–" {
		if err := Compare(callsOf(r[i]), bytes.NewReader(trace)); err != nil {
			return err.Error()
		}
		return ""
	}
	for _, cell := range r[1:] {
		for _, c := range callsOf(cell) {
			if Compare([]string{c}, bytes.NewReader(trace)) == nil {
				return "it does call " + c
			}
		}
	}
	return ""
}

var code = regexp.MustCompile("`([^`]+)`")

func callsOf(cell string) []string {
	var calls []string
	for _, m := range code.FindAllStringSubmatch(cell, -1) {
		calls = append(calls, m[1])
	}
	return calls
}

// tableOf returns the rows of the table, the headings first.
func tableOf(text string) []row {
	var rows []row
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case len(rows) == 0 && !strings.HasPrefix(line, "| strace sees |"):
			continue
		case !strings.HasPrefix(line, "|"):
			return rows
		case strings.HasPrefix(line, "| ---"):
			continue
		}
		// A bar within a cell is written \|, also in code.
		const bar = "\x00"
		cells := strings.Split(strings.Trim(strings.ReplaceAll(line, `\|`, bar), "|"), "|")
		for i := range cells {
			cells[i] = strings.ReplaceAll(strings.TrimSpace(cells[i]), bar, "|")
		}
		rows = append(rows, cells)
	}
	return rows
}

func ofVersion(name, version string) hosttest.Requirement {
	return func() error {
		out, err := exec.Command(name, "--version").Output()
		first, _, _ := strings.Cut(string(out), "\n")
		if err != nil || !strings.Contains(first, version) {
			return fmt.Errorf("%s %s, as in the table (this is %q)", name, version, first)
		}
		return nil
	}
}

func traceOf(t *testing.T, argv []string) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "trace")
	if out, err := exec.Command("strace", append([]string{"-f", "-y", "-s", "4096", "-o", file, "--"}, argv...)...).CombinedOutput(); err != nil {
		t.Fatalf("%q: %v: %s", argv, err, out)
	}
	trace, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return trace
}

// Runtime returns the command with which an OCI runtime (runc, crun) runs a
// static program, in a bundle as the runtime's own command spec makes it.
func Runtime(t *testing.T, runtime, program string, args ...string) []string {
	t.Helper()
	bundle := t.TempDir()
	b, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(bundle+"/rootfs", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(bundle+"/rootfs/program", b, 0o755); err != nil {
		t.Fatal(err)
	}
	spec := exec.Command(runtime, "spec")
	spec.Dir = bundle
	if out, err := spec.CombinedOutput(); err != nil {
		t.Fatalf("%s spec: %v: %s", runtime, err, out)
	}
	config, err := os.ReadFile(bundle + "/config.json")
	if err != nil {
		t.Fatal(err)
	}
	var c map[string]any
	if err := json.Unmarshal(config, &c); err != nil {
		t.Fatal(err)
	}
	process := c["process"].(map[string]any)
	process["terminal"], process["args"] = false, append([]string{"/program"}, args...)
	if config, err = json.Marshal(c); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(bundle+"/config.json", config, 0o644); err != nil {
		t.Fatal(err)
	}
	hideSecondHierarchy(t)
	return []string{runtime, "--root", t.TempDir(), "run", "--bundle", bundle, fmt.Sprintf("drydock-test-%d", os.Getpid())}
}

// hideSecondHierarchy takes the v2 hierarchy of a hybrid host out of sight: crun
// refuses a host with both.
func hideSecondHierarchy(t *testing.T) {
	const unified = "/sys/fs/cgroup/unified"
	if err := unix.Unmount(unified, 0); err != nil {
		return // there is none
	}
	t.Cleanup(func() {
		if err := unix.Mount("cgroup2", unified, "cgroup2", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
			t.Error(err)
		}
	})
}
