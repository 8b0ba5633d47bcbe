//go:build linux

package hosttest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// Requirement is something that a test needs and a machine may not have. It
// returns nil, or what is missing.
type Requirement func() error

// Require skips the test when a requirement is not met, and says which.
func Require(t testing.TB, needs ...Requirement) {
	t.Helper()
	for _, need := range needs {
		if err := need(); err != nil {
			t.Skipf("requires %v", err)
		}
	}
}

// Root is root in namespaces of the tests' own: nothing else may change a kernel.
func Root() error {
	if isolated {
		return nil
	}
	if notIsolated == "" {
		return errors.New("hosttest.Run in TestMain")
	}
	return fmt.Errorf("root and namespaces of its own (%s)", notIsolated)
}

// CgroupV1 is a mounted v1 hierarchy with the memory controller.
func CgroupV1() error {
	for _, h := range hierarchies() {
		if !h.v2() && slices.Contains(strings.Split(h.options, ","), "memory") {
			return nil
		}
	}
	return errors.New("cgroup v1 (no v1 hierarchy with the memory controller is mounted)")
}

// CgroupV2 is a v2 hierarchy with the memory controller: not the empty one of a
// hybrid host.
func CgroupV2() error {
	for _, h := range hierarchies() {
		if !h.v2() {
			continue
		}
		b, _ := os.ReadFile(filepath.Join(h.point, "cgroup.controllers"))
		if slices.Contains(strings.Fields(string(b)), "memory") {
			return nil
		}
	}
	return errors.New("cgroup v2 (no v2 hierarchy has the memory controller)")
}

// Overlay is an overlayfs whose upper layer may lie in $TMPDIR.
func Overlay() error {
	if err := Root(); err != nil {
		return err
	}
	if err := tryOverlay(os.TempDir()); err != nil {
		return fmt.Errorf("overlayfs with its upper layer in %s: %w", os.TempDir(), err)
	}
	return nil
}

// UserNamespaces are allowed for this user.
func UserNamespaces() error { return namespace("user", unix.CLONE_NEWUSER) }

// TimeNamespaces are built into this kernel.
func TimeNamespaces() error { return namespace("time", 0) }

func namespace(kind string, flag uintptr) error {
	if _, err := os.Stat("/proc/self/ns/" + kind); err != nil {
		return fmt.Errorf("%s namespaces: %w", kind, err)
	}
	if flag == 0 {
		return nil
	}
	if b, err := os.ReadFile("/proc/sys/user/max_" + kind + "_namespaces"); err == nil && strings.TrimSpace(string(b)) == "0" {
		return fmt.Errorf("%s namespaces: user.max_%s_namespaces is 0", kind, kind)
	}
	if b, err := os.ReadFile("/proc/sys/kernel/unprivileged_userns_clone"); err == nil && strings.TrimSpace(string(b)) == "0" && os.Geteuid() != 0 {
		return fmt.Errorf("%s namespaces: kernel.unprivileged_userns_clone is 0", kind)
	}
	return nil
}

// Bridge is a kernel that makes bridges.
var Bridge Requirement = sync.OnceValue(func() error {
	if err := Root(); err != nil {
		return err
	}
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(s)
	name, err := unix.BytePtrFromString("hosttest0")
	if err != nil {
		return err
	}
	if err := bridge(s, unix.SIOCBRADDBR, name); err != nil {
		return fmt.Errorf("a kernel with bridges: %w", err)
	}
	return bridge(s, unix.SIOCBRDELBR, name)
})

// Program is a program in $PATH, for comparisons with a real counterpart.
func Program(name string) Requirement {
	return func() error {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("the program %s", name)
		}
		return nil
	}
}

// Kernel is a Linux of that version or a newer one.
func Kernel(major, minor int) Requirement {
	return func() error {
		var u unix.Utsname
		if err := unix.Uname(&u); err != nil {
			return os.NewSyscallError("uname", err)
		}
		release := unix.ByteSliceToString(u.Release[:])
		var x, y int
		if _, err := fmt.Sscanf(release, "%d.%d", &x, &y); err != nil {
			return fmt.Errorf("a kernel of version %d.%d (uname says %q)", major, minor, release)
		}
		if x < major || x == major && y < minor {
			return fmt.Errorf("a kernel of version %d.%d (this is %s)", major, minor, release)
		}
		return nil
	}
}
