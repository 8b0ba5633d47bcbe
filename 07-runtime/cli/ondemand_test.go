//go:build linux

package cli_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/hosttest"
	overlayfs "drydock.example/04-overlayfs"
)

// cover mounts an empty file system over dir, in the mount namespace that
// hosttest has made, until the end of the test.
func cover(t *testing.T, dir string) {
	t.Helper()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		t.Fatalf("mount tmpfs on %s: %v", dir, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
}

// defaultDaemon returns the process that owns the default state directory.
func defaultDaemon(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/run/drydock/drydockd.lock")
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// end kills the process and waits until it is gone, by its pidfd.
func end(t *testing.T, pid int, signal syscall.Signal) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, signal, nil, 0); err != nil {
		t.Fatal(err)
	}
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
		if err != unix.EINTR {
			return
		}
	}
}

// Nobody has to start a daemon: the first command does, two at once start one,
// and what a killed daemon leaves is no obstacle.
func TestDaemonOnDemand(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.Overlay)
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	cover(t, "/run")
	cover(t, "/var/lib")
	drydock := func(args ...string) (stdout, stderr string, err error) {
		cmd := exec.Command(filepath.Join(bin, "drydock"), args...)
		cmd.Env = append(os.Environ(), "DRYDOCK_HOST=")
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		err = cmd.Run()
		return out.String(), errs.String(), err
	}

	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			if out, errs, err := drydock("images", "-q", "box"); err != nil || len(out) != 13 {
				t.Errorf("images: %v: %s%s", err, out, errs)
			}
		})
	}
	clients.Wait()
	if t.Failed() {
		return
	}
	first := defaultDaemon(t)
	if sid, err := unix.Getsid(first); err != nil || sid != first {
		t.Errorf("the daemon's session is %d (%v), want its own, %d", sid, err, first)
	}
	out, errs, err := drydock("ps", "-q")
	if err != nil || defaultDaemon(t) != first {
		t.Errorf("a later command: %v: %s%s; daemon %d, then %d", err, out, errs, first, defaultDaemon(t))
	}

	end(t, first, unix.SIGKILL)
	out, errs, err = drydock("images", "-q", "box")
	if err != nil || len(out) != 13 {
		t.Errorf("images after the daemon was killed: %v: %s%s", err, out, errs)
	}
	second := defaultDaemon(t)
	if second == first {
		t.Error("no other daemon was started")
	}
	end(t, second, unix.SIGTERM)

	// Why it cannot be started comes from the daemon itself.
	if err := os.WriteFile("/var/lib/drydock/meta.db", []byte("no database"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, errs, err = drydock("ps")
	if err == nil || !strings.HasPrefix(errs, "cannot start the Drydock daemon: open the engine in /var/lib/drydock: ") {
		t.Errorf("ps with a broken database: %v: %s", err, errs)
	}
}

// Another user's client starts nothing, and is told what is missing.
func TestDaemonNeedsRoot(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	// The programs' directory is root's alone, as every temporary directory of a test.
	if err := os.Chmod(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ program, want string }{
		{"drydockd", "drydockd: it makes namespaces, mounts and cgroups, for which it needs root; start it with sudo\n"},
		{"drydock", "Cannot connect to the Drydock daemon at unix:///run/drydock/drydock.sock. Is the daemon running?\n"},
	} {
		cmd := exec.Command(filepath.Join(bin, test.program), "ps")
		if test.program == "drydockd" {
			cmd.Args = cmd.Args[:1]
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		cmd.Dir = "/"
		out, err := cmd.CombinedOutput()
		if err == nil || string(out) != test.want {
			t.Errorf("%s: %v: %s", test.program, err, out)
		}
	}
}

// Where containers could never be made the daemon does not begin: an overlay
// cannot hold the layers of another.
func TestDaemonNeedsOverlay(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.Overlay)
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	base := t.TempDir()
	for _, dir := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(base, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	merged := filepath.Join(base, "merged")
	if err := overlayfs.Mount(t.Context(), merged, []string{filepath.Join(base, "lower")}, filepath.Join(base, "upper"), filepath.Join(base, "work"), false); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := overlayfs.Unmount(t.Context(), merged); err != nil {
			t.Error(err)
		}
	}()
	root := filepath.Join(merged, "root")
	out, err := exec.Command(filepath.Join(bin, "drydockd"), "--root", root, "--state", filepath.Join(base, "state")).CombinedOutput()
	if err == nil || !strings.Contains(string(out), root+" cannot hold layers") || !strings.Contains(string(out), "use a directory on ext4, xfs, btrfs or tmpfs") {
		t.Errorf("%v: %s", err, out)
	}
}

// A daemon that is there already is named.
func TestSecondDaemonOnOneSocket(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.Overlay)
	d := running(t)
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	socket := strings.TrimPrefix(d.host, "unix://")
	root, state := filepath.Join(d.dir, "root"), filepath.Join(d.dir, "state")
	pid := strconv.Itoa(d.process.Process.Pid)
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"--root", root, "--state", state}, "drydockd: unix://" + socket + " is already served, by process " + pid + "\n"},
		{[]string{"--root", root, "--state", t.TempDir()}, "drydockd: " + root + " is used by another drydockd, process " + pid + "; give this one a --root and a --state of its own\n"},
		{[]string{"--root", t.TempDir(), "--state", state, "-H", "unix://" + d.dir + "/other.sock"}, "drydockd: " + state + " is used by another drydockd, process " + pid + "; give this one a --root and a --state of its own\n"},
	} {
		out, err := exec.Command(filepath.Join(bin, "drydockd"), test.args...).CombinedOutput()
		if err == nil || string(out) != test.want {
			t.Errorf("drydockd %q: %v\n%swant\n%s", test.args, err, out, test.want)
		}
	}
}
