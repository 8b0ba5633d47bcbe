package doctor

import (
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/hosttest"
)

func TestMain(m *testing.M) { os.Exit(hosttest.Run(m)) }

// want compares a result's status and what it found, and wants the cure to
// have a line with part, when part is not empty.
func want(t *testing.T, r Result, status Status, found, part string) {
	t.Helper()
	if r.Status != status || r.Found != found {
		t.Errorf("%s, %q: want %s, %q", r.Status, r.Found, status, found)
	}
	if !slices.ContainsFunc(r.Cure, func(s string) bool { return strings.Contains(s, part) }) && part != "" {
		t.Errorf("the cures of %q are %q: want one with %q", r.Found, r.Cure, part)
	}
	if status == Missing && (r.Why == "" || len(r.Cure) == 0) {
		t.Errorf("%q says neither why nor the cure: %+v", r.Found, r)
	}
}

func TestKernel(t *testing.T) {
	want(t, kernel("6.12.3-amd64"), OK, "Linux 6.12.3-amd64", "")
	want(t, kernel("5.12.0"), OK, "Linux 5.12.0", "")
	want(t, kernel("5.11.22"), Missing, "Linux 5.11.22", "uname -r")
	want(t, kernel("4.18.0-553.el8"), Missing, "Linux 4.18.0-553.el8", "vagrant up")
	want(t, kernel("4.4.0-19041-Microsoft"), Missing, "Linux 4.4.0-19041-Microsoft (WSL 1)", "wsl --set-version")
	want(t, kernel("5.15.167.4-microsoft-standard-WSL2"), OK, "Linux 5.15.167.4-microsoft-standard-WSL2 (WSL 2)", "")
	want(t, kernel("5.10.16.3-microsoft-standard-WSL2"), Missing, "Linux 5.10.16.3-microsoft-standard-WSL2 (WSL 2)", "wsl --update")
	want(t, kernel("unknown"), Unknown, "Linux unknown: no version is to be read from that", "")
}

func TestArchitecture(t *testing.T) {
	want(t, architecture("amd64", "x86_64"), OK, "amd64", "")
	want(t, architecture("arm64", "aarch64"), OK, "arm64", "")
	want(t, architecture("amd64", "aarch64"), Limited, "a program for amd64 on a kernel for aarch64", "install Go for aarch64")
	want(t, architecture("riscv64", "riscv64"), Limited, "riscv64 (riscv64)", "--platform linux/riscv64")
}

func TestRoot(t *testing.T) {
	const host = "         0          0 4294967295\n"
	want(t, root(0, "000001ffffffffff", "         0       1000          1\n"), OK, "root of a user namespace, with all capabilities in there", "")
	want(t, root(0, "000001ffffffffff", host), OK, "root, with all capabilities that are needed", "")
	want(t, root(1000, "0", host), Limited, "user 1000", "sudo")
	// What Docker leaves to root in a container.
	want(t, root(0, "00000000a80425fb", host), Missing, "root without CAP_NET_ADMIN, CAP_SYS_PTRACE, CAP_SYS_ADMIN", "docker run --privileged")
	want(t, root(0, "", host), Unknown, `root, with capabilities ""`, "")
}

func TestChrootIsTried(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	want(t, tryChroot(t.Context()), OK, "works", "")
	err := Apart(t.Context(), 0, func() error {
		head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&head, &none[0]); err != nil {
			return err
		}
		return os.NewSyscallError("chroot", unix.Chroot("/"))
	})
	want(t, chrooted(0, err), Missing, "chroot: operation not permitted", "docker run --privileged")
	want(t, chrooted(1000, err), Unknown, "not root: it cannot be tried", "sudo")
}

func TestScratch(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOEXEC, "size=2g"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, 0) })
	want(t, scratch(dir), Missing, dir+" is mounted noexec", "mount -o remount,exec "+dir)
	remount := func(flags uintptr, options string) {
		t.Helper()
		if err := unix.Mount("", dir, "", unix.MS_REMOUNT|flags, options); err != nil {
			t.Fatal(err)
		}
	}
	remount(0, "size=2g")
	want(t, scratch(dir), OK, dir+" has 2.0 GiB free", "")
	remount(0, "size=512m")
	want(t, scratch(dir), Limited, dir+" has 512.0 MiB free", "df -h "+dir)
	remount(0, "size=4m")
	want(t, scratch(dir), Missing, dir+" has 4.0 MiB free", "df -h "+dir)
	remount(0, "size=4m,nr_inodes=100")
	want(t, Space(dir, 1<<20, "images"), Limited, dir+" has room for 99 files", "df -i "+dir)
	want(t, scratch(dir+"/none"), Missing, "statfs "+dir+"/none: no such file or directory", "mkdir -m 1777")
}

// A limit that is lowered cannot be raised again by everyone, so the numbers are given.
func TestOpenFiles(t *testing.T) {
	want(t, openFiles(256), Limited, "at most 256", "ulimit -Hn")
	want(t, openFiles(fewestFiles), OK, "at most 4096", "")
	want(t, openFiles(unix.RLIM_INFINITY), OK, "no limit", "")
}

// What is done apart stays apart, and is gone afterwards.
func TestApart(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	dir := t.TempDir()
	before, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	err = Apart(t.Context(), unix.CLONE_NEWNS|unix.CLONE_NEWUTS, func() error {
		if err := unix.Sethostname([]byte("elsewhere")); err != nil {
			return err
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
			return err
		}
		return unix.Chroot(dir)
	})
	if err != nil {
		t.Fatal(err)
	}
	if name, err := os.Hostname(); err != nil || name == "elsewhere" {
		t.Errorf("the host's name is %q (%v)", name, err)
	}
	after, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || string(after) != string(before) {
		t.Errorf("the mount table has changed (%v):\n%s", err, after)
	}
	err = Apart(t.Context(), unix.CLONE_NEWUSER, func() error { return nil })
	if err == nil || !strings.Contains(err.Error(), "invalid argument") {
		t.Errorf("a user namespace for one thread: %v", err)
	}
}
