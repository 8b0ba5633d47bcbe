//go:build linux

package chroot

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"drydock.example/01-chroot/hosttest"
)

func TestMain(m *testing.M) { os.Exit(hosttest.Run(m)) }

// listLibraries returns the files that a dynamic linker would load: ld.so --list.
func listLibraries(ld, program string) ([]string, error) {
	out, err := exec.Command(ld, "--list", program).Output()
	if err != nil {
		return nil, err
	}
	var files []string
	for line := range strings.Lines(string(out)) {
		// libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f…)
		if _, right, ok := strings.Cut(line, "=> "); ok {
			files = append(files, strings.Fields(right)[0])
		}
	}
	return files, nil
}

func TestBuildCopiesWhatAProgramNeedsAndKeepsLinks(t *testing.T) {
	root := filepath.Join(t.TempDir(), "a", "root")
	if err := Build(context.Background(), root, "/bin/sh"); err != nil {
		t.Fatal(err)
	}
	files, err := Needs("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		// Every step on the way is what it is on the host.
		for path := f.Path; path != "/"; path = filepath.Dir(path) {
			want, err := os.Readlink(path)
			if err != nil {
				continue
			}
			if got, err := os.Readlink(filepath.Join(root, path)); got != want {
				t.Errorf("%s leads to %q in the root, want %q (%v)", path, got, want, err)
			}
		}
		real, err := filepath.EvalSymlinks(f.Path)
		if err != nil {
			t.Fatal(err)
		}
		host, err := os.ReadFile(real)
		if err != nil {
			t.Fatal(err)
		}
		if copied, err := os.ReadFile(filepath.Join(root, real)); err != nil || string(copied) != string(host) {
			t.Errorf("%s differs (%v)", real, err)
		}
		was, _ := os.Stat(real)
		if is, err := os.Stat(filepath.Join(root, real)); err != nil || is.Mode() != was.Mode() {
			t.Errorf("%s has mode %v, want %v", real, is.Mode(), was.Mode())
		}
	}
	if err := filepath.Walk(root, func(path string, _ os.FileInfo, err error) error {
		if strings.HasSuffix(path, ".new") {
			t.Errorf("%s is left", path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	// Once more, and one more program: what is there stays.
	if err := Build(context.Background(), root, "sh", "ls"); err != nil {
		t.Errorf("the second time: %v", err)
	}
}

func TestBuildCopiesScriptsWithTheirInterpreters(t *testing.T) {
	dir := t.TempDir()
	script, second := filepath.Join(dir, "script"), filepath.Join(dir, "second")
	writeFile(t, script, "#!/bin/sh -e\necho done\n", 0o755)
	writeFile(t, second, "#! "+script+"\n", 0o755)
	viaEnv := filepath.Join(dir, "via-env")
	writeFile(t, viaEnv, "#!/usr/bin/env sh\n", 0o755)
	for _, program := range []string{script, second, viaEnv} {
		files, err := Needs(program)
		if err != nil {
			t.Fatal(err)
		}
		list := ""
		for _, f := range files {
			list += f.Path + "\n"
		}
		if !strings.Contains(list, "/sh\n") || program == second && !strings.Contains(list, script+"\n") ||
			program == viaEnv && !strings.Contains(list, "/usr/bin/env\n") {
			t.Errorf("%s needs\n%s", program, list)
		}
	}
}

func TestBuildRefuses(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "text"), "hello\n", 0o755)
	writeFile(t, filepath.Join(dir, "plain"), "#!/bin/sh\n", 0o644)
	writeFile(t, filepath.Join(dir, "empty"), "#!\n", 0o755)
	writeFile(t, filepath.Join(dir, "circle"), "#!"+filepath.Join(dir, "circle")+"\n", 0o755)
	writeFile(t, filepath.Join(dir, "orphan"), "#!"+filepath.Join(dir, "gone")+"\n", 0o755)
	for program, want := range map[string]string{
		"a-program-that-nobody-has": `exec: "a-program-that-nobody-has": executable file not found in $PATH`,
		"/nowhere/program":          "/nowhere/program: no such file or directory",
		dir:                         "is a directory",
		dir + "/text":               "neither an ELF file nor a",
		dir + "/plain":              "permission denied",
		dir + "/empty":              "its first line is #! without an interpreter",
		dir + "/circle":             "more than 4 interpreters",
		dir + "/orphan":             dir + "/gone: no such file or directory",
	} {
		err := Build(context.Background(), filepath.Join(t.TempDir(), "root"), program)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", program, err, want)
		}
	}
	if err := Build(context.Background(), "/", "/bin/sh"); err == nil || !strings.Contains(err.Error(), "that is the host's own /") {
		t.Errorf("/: got %v", err)
	}
}

// A program that was root in the jail prepared it for the next time that the
// host's root builds there.
func TestBuildDoesNotFollowALinkOutOfTheRoot(t *testing.T) {
	outside, root := t.TempDir(), t.TempDir()
	program := filepath.Join(t.TempDir(), "dir", "program")
	binaryFile{}.write(t, program)
	trap := filepath.Join(root, filepath.Dir(program))
	if err := os.MkdirAll(filepath.Dir(trap), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, trap); err != nil {
		t.Fatal(err)
	}
	if err := Build(context.Background(), root, program); err == nil {
		t.Error("no error")
	}
	if left, _ := os.ReadDir(outside); len(left) > 0 {
		t.Errorf("outside of the root there is now %v", left)
	}
}

func TestBuildStopsWhenItIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Build(ctx, t.TempDir(), "/bin/sh"); err != context.Canceled {
		t.Errorf("got %v", err)
	}
}

func TestACopyThatFailsLeavesNoHalfFile(t *testing.T) {
	root, source := t.TempDir(), t.TempDir()+"/file"
	if err := os.WriteFile(source, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	// A directory stands where the file shall be: the last step fails.
	if err := os.MkdirAll(root+source, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Copy(t.Context(), root, File{Path: source}); err == nil {
		t.Error("no error")
	}
	if left, _ := filepath.Glob(root + source + ".*"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
