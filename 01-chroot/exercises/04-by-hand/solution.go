//go:build linux && solution

// Package byhand is an exercise of chapter 1.
package byhand

import (
	"debug/elf"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// LibraryDirs are where a library may lie, in the order of the search.
var LibraryDirs = []string{"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"}

// Build copies the dynamic ELF program, an absolute path, into the directory
// root, at the same path, with its dynamic linker and all its libraries.
func Build(root, program string) error {
	done := map[string]bool{}
	for queue := []string{program}; len(queue) > 0; queue = queue[1:] {
		path := queue[0]
		if done[path] {
			continue
		}
		done[path] = true
		needs, err := needed(path)
		if err != nil {
			return err
		}
		queue = append(queue, needs...)
		if err := copyFile(path, filepath.Join(root, path)); err != nil {
			return err
		}
	}
	return nil
}

// needed returns the paths of the files that an ELF file names.
func needed(path string) ([]string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var paths []string
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			b, err := io.ReadAll(p.Open())
			if err != nil {
				return nil, err
			}
			paths = append(paths, strings.TrimRight(string(b), "\x00"))
		}
	}
	names, err := f.ImportedLibraries()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		found, err := find(name)
		if err != nil {
			return nil, fmt.Errorf("%s needs %s: %w", path, name, err)
		}
		paths = append(paths, found)
	}
	return paths, nil
}

func find(name string) (string, error) {
	for _, dir := range LibraryDirs {
		if path := filepath.Join(dir, name); exists(path) {
			return path, nil
		}
	}
	return "", os.ErrNotExist
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o755)
}
