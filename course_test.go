// Package course_test is what `go test ./...` runs at the root: every module
// of the workspace, chapter by chapter.
package course_test

import (
	"encoding/json"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

// TestCourse runs the tests of each chapter as a subtest of its name, on this
// system where it is Linux and the tests are root, else in the virtual machine.
// What follows the chapter's name chooses among its tests:
//
//	go test -run TestCourse/03 -v .
//	go test -run TestCourse/03/Freeze .
func TestCourse(t *testing.T) {
	var machine *vm
	if !here() {
		machine = findVM(t)
		machine.bring(t)
	}
	for _, module := range modules(t) {
		t.Run(filepath.Base(module), func(t *testing.T) {
			watch(t, module)
			args := append(append([]string{"go", "test"}, passedOn()...), "./...")
			cmd := exec.Command(args[0], args[1:]...)
			cmd.Dir = module
			if machine != nil {
				cmd = machine.command(filepath.Base(module), args)
			}
			cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
			if err := cmd.Run(); err != nil {
				t.Errorf("cd %s && %s: %v", filepath.Base(module), strings.Join(args, " "), err)
			}
		})
	}
}

// modules returns the directories of the workspace's modules but this one, in
// the order of go.work, which is that of the chapters.
func modules(t *testing.T) []string {
	out, err := exec.Command("go", "work", "edit", "-json").Output()
	if err != nil {
		t.Fatalf("read go.work: %v", err)
	}
	var work struct {
		Use []struct{ DiskPath string }
	}
	if err := json.Unmarshal(out, &work); err != nil {
		t.Fatalf("read go.work: %v", err)
	}
	var dirs []string
	for _, use := range work.Use {
		if use.DiskPath == "." {
			continue
		}
		dir, err := filepath.Abs(use.DiskPath)
		if err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, dir)
	}
	return dirs
}

// watch opens every directory of a module. The go command remembers the result
// of a test with the files and directories that it opened, below the root: so
// a result is forgotten when anything in a chapter changes.
func watch(t *testing.T, module string) {
	err := filepath.WalkDir(module, func(path string, d fs.DirEntry, err error) error {
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// passedOn returns the flags of this run that the chapters' runs must have too.
func passedOn() []string {
	var args []string
	if testing.Short() {
		args = append(args, "-short")
	}
	if testing.Verbose() {
		args = append(args, "-v")
	}
	if parts := strings.SplitN(flag.Lookup("test.run").Value.String(), "/", 3); len(parts) == 3 {
		args = append(args, "-run="+parts[2])
	}
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		args = append(args, "-race")
	}
	// Always given: without it the go command would remember the result of a
	// package whose tests build programs from others that have changed.
	return append(args, "-timeout="+flag.Lookup("test.timeout").Value.String(), "-count="+flag.Lookup("test.count").Value.String())
}
