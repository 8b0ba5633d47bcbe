//go:build linux && (exercise || solution)

package nowayout

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	chroot "drydock.example/01-chroot"
	"drydock.example/01-chroot/hosttest"
)

// envRoot is set in the child that goes into the jail.
const envRoot = "EXERCISE_ROOT"

const nobody = 65534

func TestMain(m *testing.M) {
	if root := os.Getenv(envRoot); root != "" {
		fmt.Println(jail(root))
		os.Exit(1)
	}
	os.Exit(hosttest.Run(m))
}

func jail(root string) error {
	ctx := context.Background()
	if err := syscall.Setgroups([]int{0, 4}); err != nil {
		return err
	}
	if err := chroot.Enter(ctx, root); err != nil {
		return err
	}
	if err := Drop(nobody, nobody); err != nil {
		return fmt.Errorf("Drop: %w", err)
	}
	groups, err := os.Getgroups()
	if err != nil {
		return err
	}
	fmt.Println("user", os.Geteuid(), "group", os.Getegid(), "groups", groups)
	return chroot.Exec(ctx, []string{"/breakout"})
}

func TestDrop(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	root := t.TempDir()
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", filepath.Join(root, "breakout"), "drydock.example/01-chroot/cmd/breakout").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	// The breakout needs a directory to make its second root in.
	if err := os.Chmod(root, 0o777); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), envRoot+"="+root)
	b, _ := cmd.CombinedOutput()
	out := string(b)
	if !strings.Contains(out, "user 65534 ") {
		t.Errorf("the process is not user 65534:\n%s", out)
	}
	if !strings.Contains(out, " group 65534 ") {
		t.Errorf("its group is still root's. Who may change the group, and is it still that user?\n%s", out)
	}
	if !strings.Contains(out, "groups []") && !strings.Contains(out, "groups [65534]") {
		t.Errorf("its supplementary groups are still root's: credentials(7) lists all that a process has\n%s", out)
	}
	if !strings.Contains(out, "breakout: chroot /second-root: operation not permitted") {
		t.Errorf("the breakout did not fail at its chroot:\n%s", out)
	}
}
