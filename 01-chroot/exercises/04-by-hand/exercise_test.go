//go:build linux && (exercise || solution)

package byhand

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	chroot "drydock.example/01-chroot"
	"drydock.example/01-chroot/hosttest"
)

func TestMain(m *testing.M) { os.Exit(hosttest.Run(m)) }

func TestBuild(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	// ls needs a library that needs a library.
	for _, program := range []string{"/bin/sh", "/bin/ls"} {
		program, err := filepath.EvalSymlinks(program)
		if err != nil {
			t.Fatal(err)
		}
		if f, err := elf.Open(program); err != nil || f.Section(".interp") == nil {
			t.Skipf("requires a dynamic %s (%v)", program, err)
		}
		root := t.TempDir()
		if err := Build(root, program); err != nil {
			t.Fatalf("Build: %s: %v", program, err)
		}
		if _, err := os.Stat(root + program); err != nil {
			t.Errorf("%s itself is not there: %v", program, err)
		}
		files, err := chroot.Needs(program)
		if err != nil {
			t.Fatal(err)
		}
		missing := 0
		for _, f := range files[1:] {
			if found, _ := filepath.Glob(root + "/*lib*/" + filepath.Base(f.Path)); len(found) > 0 {
				continue
			}
			if found, _ := filepath.Glob(root + "/*/*/" + filepath.Base(f.Path)); len(found) > 0 {
				continue
			}
			if _, err := os.Stat(root + f.Path); err != nil {
				missing++
				t.Errorf("%s misses %s: %s", program, f.Path, f.Why)
			}
		}
		cmd := exec.Command(program, "--nosuchoption")
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
		out, err := cmd.CombinedOutput()
		switch {
		case missing > 0:
		case err != nil && cmd.ProcessState == nil:
			t.Errorf("%s does not start: %v: is the dynamic linker where PT_INTERP says, and executable?", program, err)
		case strings.Contains(string(out), "shared libraries"):
			t.Errorf("the dynamic linker starts, and does not find what it looks for:\n%s", out)
		case cmd.ProcessState.ExitCode() != 2: // of both, for a bad option
			t.Errorf("%s ended with %v: %s", program, cmd.ProcessState, out)
		}
	}
}
