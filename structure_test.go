package course_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// sources calls do for each Go file of the repository, by its path from the root.
func sources(t *testing.T, do func(path string)) {
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return fs.SkipDir
		case strings.HasSuffix(path, ".go"):
			do(filepath.ToSlash(path))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// chapterOf returns the number of the chapter that a path or an import path of
// this course lies in, and 0 for all else.
func chapterOf(path string) int {
	path = strings.TrimPrefix(path, "drydock.example/")
	if len(path) < 3 || path[2] != '-' {
		return 0
	}
	n, _ := strconv.Atoi(path[:2])
	return n
}

// TestChaptersImportLowerOnes holds the one rule of dependency.
func TestChaptersImportLowerOnes(t *testing.T) {
	sources(t, func(path string) {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			t.Error(err)
			return
		}
		for _, i := range file.Imports {
			to, _ := strconv.Unquote(i.Path.Value)
			if strings.HasPrefix(to, "drydock.example/") && chapterOf(to) > chapterOf(path) {
				t.Errorf("%s imports %s: a chapter imports chapters with a lower number", path, to)
			}
			if to == "C" {
				t.Errorf("%s uses cgo: every program of this course is static", path)
			}
		}
	})
}

// TestOnePackageComment holds that a reader finds the comment of a package in
// one place.
func TestOnePackageComment(t *testing.T) {
	comments := map[string][]string{}
	sources(t, func(path string) {
		if strings.HasSuffix(path, "_test.go") || strings.Contains(path, "/exercises/") {
			return
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Error(err)
			return
		}
		dir := filepath.Dir(path)
		comments[dir] = append(comments[dir], nil...)
		if file.Doc != nil {
			comments[dir] = append(comments[dir], path)
		}
	})
	for dir, files := range comments {
		if len(files) != 1 {
			t.Errorf("%s: package comments stand in %q: want one", dir, files)
		}
	}
}
