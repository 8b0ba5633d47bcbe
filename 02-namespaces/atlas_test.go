//go:build linux

package namespaces

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/doctor"
	"drydock.example/01-chroot/hosttest"
)

// Each test here is an entry of docs/error-atlas.md: the failure, and its cure.

// errnoIs checks that a call fails as the atlas says.
func errnoIs(t *testing.T, what string, err error, want unix.Errno) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v: want %v", what, err, want)
	}
}

func TestAtlasUserNamespaceOfAThread(t *testing.T) {
	errnoIs(t, "unshare in a program with threads", unix.Unshare(unix.CLONE_NEWUSER), unix.EINVAL)
	hosttest.Require(t, hosttest.UserNamespaces)
	if err := tryUser(t.Context()); err != errEntered {
		t.Errorf("clone: %v", err)
	}
}

func TestAtlasJoiningAMountNamespace(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	ns, err := os.Open("/proc/self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	errnoIs(t, "setns of a thread that shares its working directory", unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS), unix.EINVAL)
	if err := doctor.Apart(t.Context(), 0, func() error { return unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS) }); err != nil {
		t.Errorf("after unshare(CLONE_FS): %v", err)
	}
}

func init() {
	roles["atlas-nothing"] = func() error { return nil }
	roles["atlas-mount-proc"] = func() error { return unix.Mount("proc", "/proc", "proc", 0, "") }
	roles["atlas-mount-sysfs"] = func() error { return unix.Mount("sysfs", "/sys", "sysfs", 0, "") }
	roles["atlas-mknod"] = func() error {
		return unix.Mknod(filepath.Join(os.Getenv("ATLAS_DIR"), "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3)))
	}
	roles["atlas-chown"] = func() error { return os.Chown(filepath.Join(os.Getenv("ATLAS_DIR"), "file"), 1, 1) }
	roles["atlas-no-more"] = func() error {
		if err := os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0); err != nil {
			return err
		}
		_, err := syscall.ForkExec("/none", nil, &syscall.ProcAttr{Sys: &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER}})
		return err
	}
	roles["atlas-gid-map"] = func() error {
		for _, setgroups := range []bool{true, false} {
			_, err := syscall.ForkExec("/none", nil, &syscall.ProcAttr{Sys: &syscall.SysProcAttr{
				Cloneflags:                 unix.CLONE_NEWUSER,
				GidMappings:                []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
				GidMappingsEnableSetgroups: setgroups,
			}})
			fmt.Println("setgroups", setgroups, err)
		}
		return nil
	}
	roles["atlas-apparmor"] = func() error { return tryUser(context.Background()) }
}

func TestAtlasUserNamespaceThatIsForbidden(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.UserNamespaces)
	t.Run("in a chroot", func(t *testing.T) {
		dir := t.TempDir()
		err := doctor.Apart(t.Context(), 0, func() error {
			if err := unix.Chroot(dir); err != nil {
				return err
			}
			errnoIs(t, "a user namespace from a chroot", tryUser(t.Context()), unix.EPERM)
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	t.Run("by AppArmor", func(t *testing.T) {
		const key = "kernel.apparmor_restrict_unprivileged_userns"
		if sysctl(key) != "1" {
			t.Skipf("requires a host where %s is 1, as on Ubuntu 24.04", key)
		}
		// EACCES where the distribution has no profile for it.
		got := started(t, "atlas-apparmor", nobody)
		if !strings.HasSuffix(got, unix.EPERM.Error()) && !strings.HasSuffix(got, unix.EACCES.Error()) {
			t.Errorf("a user namespace of an ordinary user: %q", got)
		}
	})
}

func TestAtlasMountInAUserNamespace(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.UserNamespaces)
	denied := "error: " + unix.EPERM.Error()
	for _, c := range []struct {
		role, want string
		flags      uintptr
	}{
		{"atlas-mount-proc", denied, unix.CLONE_NEWNS},
		{"atlas-mount-proc", "", unix.CLONE_NEWNS | unix.CLONE_NEWPID},
		{"atlas-mount-sysfs", denied, unix.CLONE_NEWNS},
		{"atlas-mount-sysfs", "", unix.CLONE_NEWNS | unix.CLONE_NEWNET},
	} {
		if got := started(t, c.role, inUserNamespace(c.flags)); got != c.want {
			t.Errorf("%s in namespaces %#x: %q, want %q", c.role, c.flags, got, c.want)
		}
	}
}

func TestAtlasDeviceInAUserNamespace(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.UserNamespaces)
	t.Setenv("ATLAS_DIR", t.TempDir())
	if got, want := started(t, "atlas-mknod", inUserNamespace(0)), "error: "+unix.EPERM.Error(); got != want {
		t.Errorf("mknod: %q, want %q", got, want)
	}
}

func TestAtlasChownToAnIDThatIsNotMapped(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.UserNamespaces)
	dir := t.TempDir()
	t.Setenv("ATLAS_DIR", dir)
	if err := os.WriteFile(dir+"/file", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := started(t, "atlas-chown", inUserNamespace(0)); !strings.HasSuffix(got, unix.EINVAL.Error()) {
		t.Errorf("chown: %q, want %q", got, unix.EINVAL)
	}
	two := inUserNamespace(0)
	two.UidMappings[0].Size, two.GidMappings[0].Size = 2, 2
	if got := started(t, "atlas-chown", two); got != "" {
		t.Errorf("chown to an id that is mapped: %q", got)
	}
}

func TestAtlasNoMoreUserNamespaces(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.UserNamespaces)
	if got, want := started(t, "atlas-no-more", inUserNamespace(0)), "error: "+unix.ENOSPC.Error(); got != want {
		t.Errorf("clone: %q, want %q", got, want)
	}
}

func TestAtlasGidMapOfAnOrdinaryUser(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.UserNamespaces)
	got := started(t, "atlas-gid-map", nobody)
	want := fmt.Sprintf("setgroups true %v\nsetgroups false %v", unix.EPERM, unix.ENOENT)
	if got != want {
		t.Errorf("got\n%s\nwant, where ENOENT is the program that does not exist,\n%s", got, want)
	}
}

func TestAtlasPIDNamespaceWhoseInitHasEnded(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	t.Setenv(envRole, "atlas-nothing")
	err := doctor.Apart(t.Context(), unix.CLONE_NEWPID, func() error {
		if err := exec.Command("/proc/self/exe").Run(); err != nil {
			return err
		}
		errnoIs(t, "a second process after the first has ended", exec.Command("/proc/self/exe").Start(), unix.ENOMEM)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestAtlasMountThatReachesTheHost(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	host := t.TempDir()
	mount := func(source, target, kind string, flags uintptr) {
		t.Helper()
		if err := unix.Mount(source, target, kind, flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	mount("tmpfs", host, "tmpfs", 0)
	t.Cleanup(func() { unix.Unmount(host, unix.MNT_DETACH) })
	mount("", host, "", unix.MS_SHARED)
	seen := func() bool {
		b, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(b), " "+host+"/in ")
	}
	if err := os.Mkdir(host+"/in", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, private := range []bool{false, true} {
		// Not Apart's mount namespace, which is made private at once.
		err := doctor.Apart(t.Context(), 0, func() error {
			if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
				return err
			}
			if private {
				if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
					return err
				}
			}
			return unix.Mount("tmpfs", host+"/in", "tmpfs", 0, "")
		})
		if err != nil {
			t.Fatal(err)
		}
		if seen() == private {
			t.Errorf("private %v: the host sees the mount: %v", private, seen())
		}
		_ = unix.Unmount(host+"/in", 0)
	}
}
