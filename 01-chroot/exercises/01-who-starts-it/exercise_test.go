//go:build linux && (exercise || solution)

package whostartsit

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	chroot "drydock.example/01-chroot"
)

func TestADynamicProgram(t *testing.T) {
	files, err := chroot.Needs("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	want := ""
	if len(files) > 1 {
		want = files[1].Path
	}
	if got, err := Interpreter("/bin/sh"); got != want || err != nil {
		t.Errorf("/bin/sh: %q, %v, want %q: a dynamic program names it in the segment PT_INTERP", got, err, want)
	}
}

func TestAScript(t *testing.T) {
	path := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(path, []byte("#! /bin/sh -e\necho hello\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := Interpreter(path); got != "/bin/sh" || err != nil {
		t.Errorf("a script that begins with \"#! /bin/sh -e\": %q, %v, want /bin/sh, without its argument", got, err)
	}
}

func TestAStaticProgram(t *testing.T) {
	path := filepath.Join(t.TempDir(), "breakout")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", path, "drydock.example/01-chroot/cmd/breakout").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got, err := Interpreter(path); got != "" || err != nil {
		t.Errorf("a static program: %q, %v, want nothing: it has no PT_INTERP", got, err)
	}
}
