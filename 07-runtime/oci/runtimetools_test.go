//go:build linux

package oci_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"drydock.example/01-chroot/hosttest"
	"drydock.example/07-runtime/bundletest"
)

const (
	suiteDir    = "/var/cache/drydock/runtime-tools" // made by .ci/runtime-tools
	suitePage   = "../../docs/runtime-tools.md"
	suiteTime   = 2 * time.Minute // for one program; the slowest waits for 15 s
	suiteAtOnce = 4               // programs at once: most of them wait
)

var (
	suiteRow  = regexp.MustCompile("(?m)^\\| `(\\w+)` \\| ([^|]+) \\| ([^|]+) \\|")
	suitePlan = regexp.MustCompile(`(?m)^1\.\.(\d+)`)
	suiteOK   = regexp.MustCompile(`(?m)^ok `)
	suiteBad  = regexp.MustCompile(`(?m)^not ok `)
)

// suiteVerdict is what a program of the suite says, by its exit status and by
// what it prints (the Test Anything Protocol).
func suiteVerdict(out []byte, err error) string {
	switch {
	case err != nil || suiteBad.Match(out):
		return "fails"
	case suitePlan.Match(out) && !suiteOK.Match(out):
		return "checks nothing"
	}
	return "passes"
}

// TestRuntimeTools runs the validation suite of the Open Container Initiative,
// and holds what each program says against the table of docs/runtime-tools.md.
func TestRuntimeTools(t *testing.T) {
	t.Parallel()
	hosttest.Require(t, hosttest.Root, hosttest.Program("unshare"))
	page, err := os.ReadFile(suitePage)
	if err != nil {
		t.Fatal(err)
	}
	version, err := os.ReadFile(suiteDir + "/version")
	if err != nil {
		t.Skipf("requires the validation suite: .ci/runtime-tools %s makes it (%v)", suiteDir, err)
	}
	if !bytes.Contains(page, bytes.TrimSpace(version)) {
		t.Fatalf("%s does not name the suite's version, %s", suitePage, version)
	}
	column := 2
	if hosttest.CgroupV1() != nil {
		column = 3
	}
	expected := map[string]string{}
	for _, row := range suiteRow.FindAllSubmatch(page, -1) {
		expected[string(row[1])] = strings.TrimSpace(string(row[column]))
	}

	dir := t.TempDir()
	program := fmt.Sprintf("#!/bin/sh\nexec %s --root %s/state \"$@\"\n", bundletest.Build(t, "cmd/drydock-runtime"), dir)
	if err := os.WriteFile(dir+"/runtime", []byte(program), 0o755); err != nil {
		t.Fatal(err)
	}
	s := &suite{t: t, runtime: dir + "/runtime", verdicts: map[string]string{}, printed: map[string]string{}}
	t.Cleanup(s.clean)
	var names []string
	for _, name := range suitePrograms(t) {
		switch want := expected[name]; want {
		case "":
			t.Errorf("%s is not in %s", name, suitePage)
		case "machine", "chance": // either will do
			delete(expected, name)
		default:
			names = append(names, name)
		}
	}
	s.run(names)
	for _, name := range names {
		want, verdict := expected[name], s.verdicts[name]
		switch delete(expected, name); {
		case want == "passes" || want == "checks nothing":
			if verdict != want {
				t.Errorf("%s %s, want: %s\n%s", name, verdict, want, s.printed[name])
			}
		case verdict != "fails":
			t.Errorf("%s %s, but %s has a reason for which it cannot: %s", name, verdict, suitePage, want)
		}
	}
	for name := range expected {
		t.Errorf("%s: the suite has no %s", suitePage, name)
	}
}

// suitePrograms lists the programs that have something to say.
func suitePrograms(t *testing.T) (names []string) {
	files, err := os.ReadDir(suiteDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if name := f.Name(); !strings.Contains(name, ".") && !slices.Contains([]string{"runtimetest", "version", "made-by"}, name) {
			names = append(names, name)
		}
	}
	return names
}

// suite is one run of programs of the suite.
type suite struct {
	t       *testing.T
	runtime string

	mu       sync.Mutex
	verdicts map[string]string
	printed  map[string]string
}

// run runs the programs: first the one that gives a hook a second, then the
// others, some at a time. Those that make a cgroup give it the same path, so
// they come one after the other.
func (s *suite) run(names []string) {
	const hasty = "hooks_stdin"
	s.runOne(hasty)
	queues := [][]string{nil}
	for _, name := range names {
		switch {
		case name == hasty:
		case strings.HasPrefix(name, "linux_cgroups_") || strings.Contains(name, "_resources"):
			queues[0] = append(queues[0], name)
		default:
			queues = append(queues, []string{name})
		}
	}
	var running sync.WaitGroup
	defer running.Wait()
	slots := make(chan struct{}, suiteAtOnce)
	for _, queue := range queues {
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			for _, name := range queue {
				s.runOne(name)
			}
		})
	}
}

func (s *suite) runOne(name string) {
	ctx, cancel := context.WithTimeout(s.t.Context(), suiteTime)
	defer cancel()
	c := exec.CommandContext(ctx, "./"+name)
	c.Dir = suiteDir
	c.Env = append(os.Environ(), "RUNTIME="+s.runtime)
	var out, complaints bytes.Buffer
	c.Stdout, c.Stderr = &out, &complaints
	err := c.Run()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.verdicts[name] = suiteVerdict(out.Bytes(), err)
	s.printed[name] = out.String() + complaints.String()
}

// clean ends the containers that a program leaves when a check of it fails, and
// removes the parents of a relative cgroupsPath, which are nobody's.
func (s *suite) clean() {
	left, _ := os.ReadDir(filepath.Dir(s.runtime) + "/state")
	for _, container := range left {
		if out, err := exec.Command(s.runtime, "delete", "--force", container.Name()).CombinedOutput(); err != nil {
			s.t.Errorf("delete %s: %v: %s", container.Name(), err, out)
		}
	}
	removeCgroups("/testdir", "/cgrouptest")
}
