package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fresh makes a clone with two chapters, in which the test stands.
func fresh(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("needs git")
	}
	t.Chdir(t.TempDir())
	write(t, "01-one/exercises/01-x/exercise.go", "//go:build linux && !solution\n\npackage x\n\nfunc Solved() bool { return false }\n")
	write(t, "01-one/exercises/01-x/solution.go", "//go:build linux && solution\n\npackage x\n\nfunc Solved() bool { return true }\n")
	write(t, "01-one/code.go", "package one\n")
	write(t, "02-two/exercises/01-y/exercise.go", "//go:build linux && !solution\n\npackage y\n")
	for _, args := range [][]string{{"init", "-q"}, {"add", "."}, {"-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qm", "x"}} {
		if _, err := git(args...); err != nil {
			t.Fatal(err)
		}
	}
}

func write(t *testing.T, file, text string) {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func holds(t *testing.T, file, want string) {
	t.Helper()
	if text, err := os.ReadFile(file); err != nil || !strings.Contains(string(text), want) {
		t.Errorf("%s: %q, %v; want %q in it", file, text, err, want)
	}
}

func TestCatchUpKeepsTheirWork(t *testing.T) {
	fresh(t)
	write(t, "01-one/exercises/01-x/exercise.go", "half an answer")
	write(t, "01-one/code.go", "broken")
	write(t, "01-one/notes with a space.txt", "my notes")
	write(t, "02-two/exercises/01-y/exercise.go", "begun")
	if err := run([]string{"2"}, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)); err != nil {
		t.Fatal(err)
	}
	kept := "my-work/2026-01-02-030405/"
	holds(t, kept+"01-one/exercises/01-x/exercise.go", "half an answer")
	holds(t, kept+"01-one/code.go", "broken")
	holds(t, kept+"01-one/notes with a space.txt", "my notes")
	holds(t, "01-one/notes with a space.txt", "my notes")
	holds(t, "01-one/code.go", "package one")
	holds(t, "01-one/exercises/01-x/exercise.go", "&& !solution\n\npackage x\n\nfunc Solved() bool { return true }")
	holds(t, "02-two/exercises/01-y/exercise.go", "begun")
}

func TestCatchUpRefuses(t *testing.T) {
	fresh(t)
	for _, test := range []struct {
		args []string
		want string
	}{
		{nil, `arguments []: want one`},
		{[]string{"three"}, `chapter "three": want a number from 1 to 2`},
		{[]string{"0"}, `chapter "0": want`},
		{[]string{"3"}, `chapter "3": want a number from 1 to 2`},
	} {
		if err := run(test.args, time.Now()); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: %v, want %s", test.args, err, test.want)
		}
	}
	// Where their work cannot be kept, nothing is changed.
	write(t, "01-one/code.go", "broken")
	write(t, "my-work", "in the way")
	if err := run([]string{"2"}, time.Now()); err == nil || !strings.Contains(err.Error(), "of which nothing has changed yet") {
		t.Error(err)
	}
	holds(t, "01-one/code.go", "broken")
	t.Chdir(t.TempDir())
	if err := run([]string{"2"}, time.Now()); err == nil || !strings.Contains(err.Error(), "no chapters") {
		t.Error(err)
	}
}
