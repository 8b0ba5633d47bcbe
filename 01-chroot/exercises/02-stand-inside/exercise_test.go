//go:build linux && (exercise || solution)

package standinside

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"drydock.example/01-chroot/hosttest"
)

// envRoot is set in the child that calls Enter: a chroot cannot be undone.
const envRoot = "EXERCISE_ROOT"

func TestMain(m *testing.M) {
	if root := os.Getenv(envRoot); root != "" {
		if err := Enter(root); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		for _, path := range []string{"file", "../file", "/file"} {
			b, err := os.ReadFile(path)
			fmt.Printf("%s: %q %v\n", path, b, err != nil)
		}
		os.Exit(0)
	}
	os.Exit(hosttest.Run(m))
}

func TestEnter(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	outside := t.TempDir()
	root := filepath.Join(outside, "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string]string{outside + "/file": "outside", root + "/file": "inside"} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{outside, root, "/"} {
		cmd := exec.Command(self)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), envRoot+"="+root)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("Enter(%q): %v: %s", root, err, out)
		}
		want := "file: \"inside\" false\n../file: \"inside\" false\n/file: \"inside\" false\n"
		if string(out) != want {
			t.Errorf("a process that stood in %s reads\n%swant\n%sA process has a root and a working directory: which of them did you change?", dir, out, want)
		}
	}
}
