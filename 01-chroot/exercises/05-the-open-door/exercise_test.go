//go:build linux && (exercise || solution)

package opendoor

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	chroot "drydock.example/01-chroot"
	"drydock.example/01-chroot/hosttest"
)

// In the child that goes into the jail, a directory and a file of the host.
const envRoot, envSecret = "EXERCISE_ROOT", "EXERCISE_SECRET"

func TestMain(m *testing.M) {
	if root := os.Getenv(envRoot); root != "" {
		// The program's own descriptors are open as well: epoll, for example.
		if err := chroot.Enter(context.Background(), root); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		if err := Leave(); err != nil {
			fmt.Println("Leave:", err)
		}
		b, err := os.ReadFile(os.Getenv(envSecret))
		fmt.Println("read:", string(b), err)
		os.Exit(0)
	}
	os.Exit(hosttest.Run(m))
}

func TestLeave(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	outside := t.TempDir()
	root := filepath.Join(outside, "root")
	if err := os.MkdirAll(root+"/inside", 0o755); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(outside, "secret")
	if err := os.WriteFile(secret, []byte("of the host"), 0o600); err != nil {
		t.Fatal(err)
	}
	open := func(path string) *os.File {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	trap, file, door := open(root+"/inside"), open(secret), open("/usr")
	in := func(files ...*os.File) string {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), envRoot+"="+root, envSecret+"="+secret)
		cmd.ExtraFiles = files
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	if out := in(door); !strings.Contains(out, "read: of the host <nil>") {
		t.Errorf("the host's /usr is open as descriptor 3, and the process is still inside:\n%s", out)
	}
	if out := in(file, trap, nil, nil, door); !strings.Contains(out, "read: of the host <nil>") {
		t.Errorf("a file is open as 3, a directory of the jail as 4, the host's /usr as 7: the first directory is not always the door:\n%s", out)
	}
	if out := in(trap); !strings.HasPrefix(out, "Leave: ") {
		t.Errorf("only a directory of the jail is open, and Leave does not say that there is no way:\n%s", out)
	}
}
