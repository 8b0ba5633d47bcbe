//go:build linux

package hosttest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// envStage tells a re-executed test binary which stage it is: "init FD PID"
// for process 1 of the namespaces, "tests PID" for the tests. PID is that of
// the first stage, FD the read end of the pipe that closes when it dies.
const envStage = "DRYDOCK_HOSTTEST"

var (
	// isolated is true in the third stage.
	isolated bool
	// notIsolated says why the tests run without namespaces of their own.
	notIsolated string
	// prefix is what Cgroup returns.
	prefix = cgroupName(os.Getpid())
)

// Run runs the tests of m in namespaces of their own and returns the exit
// status for os.Exit: that of the tests, or 1 when something was left behind.
// Without root it says so and runs the tests where they are, and likewise when
// fuzzing, whose coordinator must find its workers where it started them.
func Run(m *testing.M) int {
	stage := strings.Fields(os.Getenv(envStage))
	os.Unsetenv(envStage)
	switch {
	case len(stage) == 3 && stage[0] == "init":
		return runInit(stage[1], stage[2])
	case len(stage) == 2 && stage[0] == "tests":
		isolated = true
		if pid, err := strconv.Atoi(stage[1]); err == nil {
			prefix = cgroupName(pid)
		}
		return m.Run()
	}
	switch {
	case fuzzing(os.Args):
		notIsolated = "fuzzing runs without namespaces of its own"
		return m.Run()
	case os.Geteuid() != 0:
		notIsolated = "not root"
	default:
		code, err := runIsolated()
		if err == nil {
			return code
		}
		if !errors.Is(err, unix.EPERM) {
			fmt.Fprintf(os.Stderr, "hosttest: %v\n", err)
			return 1
		}
		notIsolated = "root, but not allowed to make namespaces (" + err.Error() + ")"
	}
	fmt.Fprintf(os.Stderr, "hosttest: %s: tests that change the kernel are skipped\n", notIsolated)
	return m.Run()
}

// Cgroup returns the path below which a test makes all its cgroups, in every
// hierarchy: "/drydock-test-PID". The directory need not exist.
func Cgroup() string { return prefix }

func fuzzing(args []string) bool {
	for _, a := range args[1:] {
		name, value, _ := strings.Cut(strings.TrimLeft(a, "-"), "=")
		if name == "test.fuzzworker" || name == "test.fuzz" && value != "" {
			return true
		}
	}
	return false
}

// runIsolated is the first stage. Its error is that of the start of the second.
func runIsolated() (int, error) {
	removeStale()
	before, err := takeSnapshot(host)
	if err != nil {
		return 1, err
	}
	self, err := os.Executable()
	if err != nil {
		return 1, err
	}
	// Whoever holds the read end learns of this process's death, however it
	// comes: the kernel closes the write end.
	var alive [2]int
	if err := unix.Pipe2(alive[:], unix.O_CLOEXEC); err != nil {
		return 1, fmt.Errorf("pipe2: %w", err)
	}
	// Only this end goes to the child. Every other descriptor keeps its number
	// and its flag, so that what go test handed us arrives at the tests.
	if _, err := unix.FcntlInt(uintptr(alive[0]), unix.F_SETFD, 0); err != nil {
		return 1, fmt.Errorf("fcntl F_SETFD: %w", err)
	}
	cmd := &exec.Cmd{
		Path:   self,
		Args:   os.Args,
		Env:    append(os.Environ(), fmt.Sprintf("%s=init %d %d", envStage, alive[0], os.Getpid())),
		Stdin:  os.Stdin,
		Stdout: os.Stdout,
		Stderr: os.Stderr,
		SysProcAttr: &syscall.SysProcAttr{
			Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
		},
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGQUIT, unix.SIGHUP)
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	unix.Close(alive[0])
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s)
		}
	}()
	_ = cmd.Wait()
	code := exitStatus(cmd.ProcessState.Sys().(syscall.WaitStatus))
	removeCgroups(hierarchies(), cgroupName(os.Getpid()))

	after, err := takeSnapshot(host)
	if err != nil {
		return 1, err
	}
	if diff := before.diff(after); len(diff) > 0 {
		fmt.Fprintln(os.Stderr, "hosttest: the host changed while the tests ran (by them, or by something else at the same time):")
		for _, d := range diff {
			fmt.Fprintln(os.Stderr, "\t"+d)
		}
		code = max(code, 1)
	}
	return code, nil
}

// exitStatus is a wait status as a shell reports it: 128+N for signal N.
func exitStatus(ws syscall.WaitStatus) int {
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}
