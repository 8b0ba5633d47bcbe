//go:build linux

package hosttest

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// runInit is the second stage: process 1 of the namespaces.
func runInit(fd, owner string) int {
	alive, err1 := strconv.Atoi(fd)
	pid, err2 := strconv.Atoi(owner)
	if err1 != nil || err2 != nil || os.Getpid() != 1 {
		fmt.Fprintf(os.Stderr, "hosttest: %s is set, but not by hosttest\n", envStage)
		return 1
	}
	unix.CloseOnExec(alive)
	prefix = cgroupName(pid)
	// The cgroup namespace belongs to a thread until a child is made from it.
	runtime.LockOSThread()

	room, err := furnish(owner)
	if err != nil {
		room.clear()
		fmt.Fprintf(os.Stderr, "hosttest: %v\n", err)
		return 1
	}
	code, err := room.runTests(alive, owner)
	if err != nil {
		fmt.Fprintf(os.Stderr, "hosttest: %v\n", err)
		code = 1
	}
	return code
}

// room is what the second stage made for the tests and must clear away.
type room struct {
	cgroups []hierarchy
	// tmp is the tests' $TMPDIR.
	tmp string
}

// furnish makes the mounts that fit the new namespaces. The room that it
// returns is to be cleared even after an error.
func furnish(owner string) (*room, error) {
	r := &room{}
	// A mount namespace starts as a copy whose mounts still propagate to the
	// originals: cut that before anything is mounted.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return r, os.NewSyscallError("mount / private", err)
	}
	var err error
	if r.cgroups, err = enterCgroups(hierarchies()); err != nil {
		return r, err
	}
	old := mounts()
	// /proc and /sys show the namespaces of whoever mounted them.
	for _, m := range []struct{ source, target, fstype string }{
		{"proc", "/proc", "proc"}, {"sysfs", "/sys", "sysfs"},
	} {
		_ = unix.Unmount(m.target, unix.MNT_DETACH)
		if err := unix.Mount(m.source, m.target, m.fstype, unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
			return r, fmt.Errorf("mount a new %s: %w", m.target, err)
		}
	}
	for _, m := range old {
		// securityfs, debugfs and the like: one per kernel, gone with the old /sys.
		if strings.HasPrefix(m.point, "/sys/") && !strings.HasPrefix(m.point, cgroupRoot) {
			_ = unix.Mount(m.source, m.point, m.fstype, 0, "")
		}
	}
	if err := mountCgroups(r.cgroups, old); err != nil {
		return r, err
	}
	if err := mountRun(); err != nil {
		return r, err
	}
	if err := loopbackUp(); err != nil {
		return r, err
	}
	return r, r.makeTemp(owner)
}

// mountRun mounts a new /run. A $TMPDIR below it, in which the go command keeps
// this very test binary, stays to be seen.
func mountRun() error {
	tmp, err := os.Open(os.TempDir())
	if err != nil {
		return err
	}
	defer tmp.Close()
	if err := unix.Mount("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return fmt.Errorf("mount a new /run: %w", err)
	}
	if !strings.HasPrefix(tmp.Name(), "/run/") {
		return nil
	}
	if err := os.MkdirAll(tmp.Name(), 0o755); err != nil {
		return err
	}
	if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", tmp.Fd()), tmp.Name(), "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount %s into the new /run: %w", tmp.Name(), err)
	}
	return nil
}

// makeTemp makes the tests' $TMPDIR on a file system that overlayfs takes as
// upper layer: where $TMPDIR is now, or else on a tmpfs.
func (r *room) makeTemp(owner string) error {
	// Short: paths of Unix sockets have no more than 107 bytes.
	dir, err := os.MkdirTemp("", "dd"+owner+"-")
	if err != nil {
		return err
	}
	r.tmp = dir
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	if err := tryOverlay(dir); err != nil {
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
			return fmt.Errorf("mount a tmpfs on %s: %w", dir, err)
		}
	}
	return os.Setenv("TMPDIR", dir)
}

// tryOverlay says whether an overlay's upper layer may lie in dir.
func tryOverlay(dir string) error {
	scratch, err := os.MkdirTemp(dir, "overlay")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	for _, d := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(scratch, d), 0o755); err != nil {
			return err
		}
	}
	merged := filepath.Join(scratch, "merged")
	options := fmt.Sprintf("lowerdir=%[1]s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work", scratch)
	if err := unix.Mount("overlay", merged, "overlay", 0, options); err != nil {
		return err
	}
	return unix.Unmount(merged, unix.MNT_DETACH)
}

// loopbackUp brings lo up: a new network namespace has it, down.
func loopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(s)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return os.NewSyscallError("ioctl SIOCSIFFLAGS lo up", unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, lo))
}

// runTests starts the third stage, waits for its end and for that of all
// orphans, clears the room and reports what was left in it.
func (r *room) runTests(alive int, owner string) (int, error) {
	before, err := takeSnapshot(inside)
	if err != nil {
		r.clear()
		return 1, err
	}
	self, err := os.Executable()
	if err != nil {
		r.clear()
		return 1, err
	}
	// Not os/exec: process 1 waits for any child, and the two would compete.
	tests, err := syscall.ForkExec(self, os.Args, &syscall.ProcAttr{
		Env:   append(os.Environ(), envStage+"=tests "+owner),
		Files: []uintptr{0, 1, 2},
	})
	if err != nil {
		r.clear()
		return 1, fmt.Errorf("start the tests: %w", err)
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGQUIT, unix.SIGHUP)
	go func() {
		for s := range signals {
			_ = unix.Kill(tests, s.(syscall.Signal))
		}
	}()
	var abandoned atomic.Bool
	go func() {
		for {
			if n, err := unix.Read(alive, make([]byte, 1)); n == 0 || err != unix.EINTR {
				break
			}
		}
		abandoned.Store(true)
		r.killAll()
	}()

	code := 1
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, 0, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 1, os.NewSyscallError("wait4", err)
		}
		if pid == tests {
			code = exitStatus(syscall.WaitStatus(ws))
			break
		}
	}
	var left []string
	if !abandoned.Load() {
		left = leftProcesses(time.Second)
	}
	r.killAll()
	reapAll()
	if !abandoned.Load() {
		left = append(left, leftCgroups(r.cgroups)...)
		after, err := takeSnapshot(inside)
		if err != nil {
			left = append(left, err.Error())
		} else {
			left = append(left, before.diff(after)...)
		}
	}
	r.clear()
	if len(left) > 0 {
		fmt.Fprintln(os.Stderr, "hosttest: the tests left behind (removed now):")
		for _, l := range left {
			fmt.Fprintln(os.Stderr, "\t"+l)
		}
		code = max(code, 1)
	}
	return code, nil
}

// killAll kills every process of the PID namespace but this one. A process in
// a frozen cgroup v1 would not die: those are thawed.
func (r *room) killAll() {
	_ = unix.Kill(-1, unix.SIGKILL)
	thaw(r.cgroups)
}

// reapAll waits until the PID namespace is empty.
func reapAll() {
	for {
		_ = unix.Kill(-1, unix.SIGKILL)
		if _, err := unix.Wait4(-1, nil, 0, nil); err == unix.ECHILD {
			return
		}
	}
}

// leftProcesses names the processes that are still there but for process 1 and
// those that end within the grace: a killed process takes a moment to go.
func leftProcesses(grace time.Duration) []string {
	deadline := time.Now().Add(grace)
	var left []string
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == 1 {
			continue
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue
		}
		// A pidfd becomes readable when its process has ended.
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		for {
			wait := max(time.Until(deadline).Milliseconds(), 0)
			if _, err = unix.Poll(poll, int(wait)); err != unix.EINTR {
				break
			}
		}
		unix.Close(fd)
		if poll[0].Revents != 0 {
			continue
		}
		cmdline, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil || len(cmdline) == 0 { // it is just ending
			continue
		}
		left = append(left, fmt.Sprintf("process %d: %s", pid, strings.Join(strings.Split(strings.TrimRight(string(cmdline), "\x00"), "\x00"), " ")))
	}
	return left
}

// clear removes the cgroups and the scratch directory. What lives in the
// namespaces goes with them.
func (r *room) clear() {
	leaveCgroups(r.cgroups)
	if r.tmp == "" {
		return
	}
	// A forgotten bind mount in here may show the host's files: nothing is
	// removed before nothing is mounted.
	for range 8 {
		n := 0
		for _, m := range mounts() {
			if m.point == r.tmp || strings.HasPrefix(m.point, r.tmp+"/") {
				n++
				_ = unix.Unmount(m.point, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
			}
		}
		if n == 0 {
			os.RemoveAll(r.tmp)
			return
		}
	}
}
