// Package lesson runs a chapter's README as a test, so that no text can drift
// from the code.
//
// Four things are held:
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
//   - A test that the text names (`TestReadme`) stands in a _test.go file at or
//     below the README.
//
// All sessions of a file are one story in one mount namespace: /tmp is empty at
// the start, and what a command leaves there the next one finds. A comment
// before a block, <!-- requires: cgroup2 strace -->, names what it needs beyond
// root: see [requirement].
package lesson

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
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
	p := readPage(t, readme)
	p.check(t)
	t.Run("console", func(t *testing.T) { console(t, p.root, "", p) })
}

// Path runs several files as one story, the way of a reader: from top to bottom,
// one after the other, with what the one left in /tmp there for the next, in a
// fresh copy of the repository that has nothing which git ignores.
func Path(t *testing.T, readmes ...string) {
	t.Helper()
	var root, copied string
	var pages []page
	for _, readme := range readmes {
		p := readPage(t, readme)
		if copied == "" {
			root, copied = p.root, freshCopy(t, p.root)
		}
		inRoot, err := filepath.Rel(root, p.path)
		if err != nil {
			t.Fatal(err)
		}
		p = readPage(t, filepath.Join(copied, inRoot))
		p.name = readme
		t.Run(inRoot, p.check)
		pages = append(pages, p)
	}
	t.Run("console", func(t *testing.T) { console(t, copied, "/tmp/drydock", pages...) })
}

// page is a README.
type page struct {
	// name is what messages call it, path is absolute.
	name, path string
	// root is the directory of go.work.
	root   string
	text   string
	blocks []block
}

func readPage(t *testing.T, readme string) page {
	t.Helper()
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	path, err := filepath.Abs(readme)
	if err != nil {
		t.Fatal(err)
	}
	root, err := repository(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	return page{name: readme, path: path, root: root, text: string(text), blocks: parse(string(text))}
}

// check holds all but the sessions.
func (p page) check(t *testing.T) {
	dir := filepath.Dir(p.path)
	t.Run("links", func(t *testing.T) {
		for _, problem := range brokenLinks(dir, p.text) {
			t.Errorf("%s:%s", p.name, problem)
		}
	})
	t.Run("quotes", func(t *testing.T) {
		for _, b := range p.blocks {
			if b.file == "" {
				continue
			}
			source, err := os.ReadFile(filepath.Join(dir, b.file))
			if err != nil {
				t.Errorf("%s:%d: %v", p.name, b.line, err)
				continue
			}
			if problem := quoted(b.lines, strings.Split(string(source), "\n")); problem != "" {
				t.Errorf("%s:%d: %s: %s", p.name, b.line, b.file, problem)
			}
		}
	})
	t.Run("tests", func(t *testing.T) {
		there, err := testsBelow(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, problem := range unknownTests(p.text, there) {
			t.Errorf("%s:%s", p.name, problem)
		}
	})
}

// freshCopy copies what git tracks, or would, into a new directory.
func freshCopy(t *testing.T, root string) string {
	t.Helper()
	if _, err := os.Stat(filepath.Join(root, ".git")); err != nil {
		t.Skipf("requires a clone of the repository: %v", err)
	}
	// git refuses to tell root about a clone that belongs to somebody else.
	list, err := exec.Command("git", "-c", "safe.directory=*", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("requires the program git")
	}
	if err != nil {
		t.Fatalf("git ls-files in %s: %v", root, err)
	}
	copied := t.TempDir()
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		if err := copyFile(filepath.Join(root, name), filepath.Join(copied, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	return copied
}

func copyFile(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, b, info.Mode().Perm())
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
