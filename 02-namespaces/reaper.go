//go:build linux

package namespaces

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// reaperName is argv[0] of a container's process 1 that is not the user's program.
const reaperName = "drydock-reaper"

// InitAnnotation, with the value "true" in a config, asks an OCI runtime for a
// process 1 beside the program: it waits for orphans and passes signals on
// (Options.Reaper; docker run --init). The specification has no field for that:
// other engines mount a program of theirs and put it before process.args. The
// name is drydock-runtime's own, and its features tell of it, since annotations
// that a runtime does not know are passed over (runtime-spec, config.md#annotations).
const InitAnnotation = "drydock.init"

// becomeReaper executes this program once more, as the user's program would be:
// with its rights, its descriptors and nothing of ours.
func becomeReaper(p *initProcess) error {
	args := append([]string{reaperName, strconv.Itoa(p.Files), strconv.FormatBool(p.Process.Terminal), p.program}, p.Process.Args...)
	chapter.Call(p.ctx, "this program stays process 1, and has the user's program as its child", "execve(\"/proc/self/exe\", %q, /* %d vars */)", args, len(p.Process.Env))
	err := syscall.Exec("/proc/self/exe", args, p.Process.Env)
	return fmt.Errorf("exec /proc/self/exe: %w: a reaper needs a /proc in the container", err)
}

// runReaper is process 1 of a container. The kernel gives it two duties that programs
// seldom know of (pid_namespaces(7)): it must wait for the orphans of all others,
// or they stay as zombies; and it gets no signal that it has not asked for, SIGTERM
// included. So the program is its child: its signals are passed on to that, and
// it ends as that does.
func runReaper(args []string) int {
	files, err := strconv.Atoi(args[0])
	if err != nil || len(args) < 4 {
		fmt.Fprintf(os.Stderr, "%s is not for use by hand\n", reaperName)
		return 125
	}
	// Before the child is there: no signal may find nobody.
	signals := make(chan os.Signal, 64)
	signal.Notify(signals)
	terminal, program := args[1] == "true", args[2]
	// A process group of its own: what the terminal sends goes to the program alone.
	attr := &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Setpgid: true, Foreground: terminal}}
	for fd := range files {
		attr.Files = append(attr.Files, uintptr(3+fd))
	}
	pid, err := syscall.ForkExec(program, args[3:], attr)
	if err != nil {
		fmt.Fprintf(os.Stderr, "exec %s: %v\n", program, err)
		return 126
	}
	for fd := range files {
		unix.Close(3 + fd) // whoever waits for the end of one waits for the program's
	}
	go func() {
		for s := range signals {
			// SIGURG is the Go runtime's own, and SIGCHLD is about our children.
			if s != unix.SIGURG && s != unix.SIGCHLD {
				_ = unix.Kill(pid, s.(syscall.Signal))
			}
		}
	}()
	for {
		var status unix.WaitStatus
		switch ended, err := unix.Wait4(-1, &status, 0, nil); {
		case err == unix.EINTR:
		case err != nil:
			fmt.Fprintln(os.Stderr, os.NewSyscallError("wait4", err))
			return 125
		case ended == pid && status.Signaled():
			return 128 + int(status.Signal())
		case ended == pid:
			return status.ExitStatus()
		}
	}
}
