package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// The sum must be the one that provision.sh computes with the shell's tools.
func TestTreeSumIsTheShells(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs GNU find, sort and sha256sum")
	}
	root := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module x", "a/b.go": "package a", "a-b/c.go": "package c", "a/README.md": "no", "a.go": "package x", "B.go": "package x"} {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	script, err := os.ReadFile("../provision.sh")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(script), "tree_sum=$(")
	line, _, ok := strings.Cut(rest, ")\n")
	if !ok {
		t.Fatal("provision.sh has no tree_sum=$(…)")
	}
	cmd := exec.Command("bash", "-c", line)
	cmd.Env = append(os.Environ(), "course="+root)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := treeSum(root); err != nil || got != string(out) {
		t.Errorf("%q, %v; the shell says %q", got, err, out)
	}
}

func TestLinksLeadToPages(t *testing.T) {
	for link, want := range map[string]string{
		"../06-images/README.md":     "../06-images/README.html",
		"README.md#a-room":           "README.html#a-room",
		"exercises/01-by-hand":       "exercises/01-by-hand/README.html",
		"exercises/01-by-hand/":      "exercises/01-by-hand/README.html",
		"pull.go":                    "pull.go",
		"https://example.com/x.md":   "https://example.com/x.md",
		"#predict":                   "#predict",
		"exercises/01-x/solution.go": "exercises/01-x/solution.go",
	} {
		if got := toPage(link); got != want {
			t.Errorf("%s leads to %s, want %s", link, got, want)
		}
	}
}
