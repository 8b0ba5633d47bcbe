// Package lesson runs a chapter's README as a test, so that no text can drift
// from the code.
//
// Three things are held:
//
//   - A block whose info string is "console" is a session. Lines after "$ " are
//     commands for /bin/sh in the repository's root ("> " goes on with the line
//     before), the lines below them what is printed, errors included. A line
//     "…" stands for any lines, a "…" within a line for any text.
//   - A block whose info string names a file after the language ("go chroot.go")
//     quotes it: its lines stand there, in this order and without a gap, but
//     where a line "…" (or "// …") stands for what is left out. Indentation may
//     differ.
//   - A relative link leads to a file that exists.
//
// All sessions of a file are one story in one mount namespace: /tmp is empty at
// the start, and what a command leaves there the next one finds. A comment
// before a block, <!-- requires: cgroup2 strace -->, names what it needs beyond
// root: see [requirement].
package lesson

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// ellipsis stands for what a reader need not see.
const ellipsis = "…"

// Test runs the Markdown file readme, a path relative to the test's package.
// The package's TestMain is hosttest.Run's.
func Test(t *testing.T, readme string) {
	t.Helper()
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	path, err := filepath.Abs(readme)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(path)
	root, err := repository(dir)
	if err != nil {
		t.Fatal(err)
	}
	blocks := parse(string(text))
	t.Run("links", func(t *testing.T) {
		for _, problem := range brokenLinks(dir, string(text)) {
			t.Errorf("%s:%s", readme, problem)
		}
	})
	t.Run("quotes", func(t *testing.T) {
		for _, b := range blocks {
			if b.file == "" {
				continue
			}
			source, err := os.ReadFile(filepath.Join(dir, b.file))
			if err != nil {
				t.Errorf("%s:%d: %v", readme, b.line, err)
				continue
			}
			if problem := quoted(b.lines, strings.Split(string(source), "\n")); problem != "" {
				t.Errorf("%s:%d: %s: %s", readme, b.line, b.file, problem)
			}
		}
	})
	t.Run("console", func(t *testing.T) { console(t, readme, root, blocks) })
}

// repository returns the directory of go.work, at or above dir.
func repository(dir string) (string, error) {
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, "go.work")); err == nil {
			return d, nil
		}
		if d == filepath.Dir(d) {
			return "", &os.PathError{Op: "look for go.work at or above", Path: dir, Err: os.ErrNotExist}
		}
	}
}
