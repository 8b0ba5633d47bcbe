//go:build linux && (exercise || solution)

package theterminal

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/hosttest"
	"drydock.example/07-runtime/bundletest"
)

func TestMain(m *testing.M) { os.Exit(hosttest.Run(m)) }

func TestReceive(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	dir := t.TempDir()
	bundletest.Rootfs(t, filepath.Join(dir, "rootfs"))
	id := fmt.Sprintf("exercise-terminal-%d", os.Getpid())
	spec := bundletest.Spec(hosttest.Cgroup()+"/"+id, "sizes")
	spec.Process.Terminal = true
	bundletest.Write(t, dir, spec)
	runtime := func(args ...string) (string, error) {
		c := exec.Command(bundletest.Build(t, "cmd/drydock-runtime"), append([]string{"--root", dir + "/state"}, args...)...)
		c.Dir = dir
		out, err := c.CombinedOutput()
		return string(out), err
	}
	defer runtime("delete", "--force", id)

	// A short path: a socket's name has 108 bytes.
	where, err := os.MkdirTemp("", "tty")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(where)
	socket, err := net.ListenUnix("unix", &net.UnixAddr{Name: where + "/s", Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	socket.SetDeadline(time.Now().Add(time.Minute))
	type received struct {
		f   *os.File
		err error
	}
	arrived := make(chan received, 1)
	go func() {
		f, err := Receive(socket)
		arrived <- received{f, err}
		if err != nil {
			socket.Close() // or the runtime would wait for somebody to listen
		}
	}()
	out, createErr := runtime("create", "--console-socket", where+"/s", id)
	r := <-arrived
	if r.err != nil {
		t.Fatalf("Receive: %v", r.err)
	}
	if createErr != nil {
		t.Fatalf("create: %s", out)
	}
	terminal := r.f
	defer terminal.Close()
	flags, err := unix.FcntlInt(terminal.Fd(), unix.F_GETFD, 0)
	if err != nil {
		t.Fatal(err)
	}
	if flags&unix.FD_CLOEXEC == 0 {
		t.Error("the descriptor is not close-on-exec: the next program that you start would hold this container's terminal too")
	}
	if name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", terminal.Fd())); err != nil || filepath.Base(name) != "ptmx" {
		t.Fatalf("the descriptor is %s (%v): a terminal's master is a ptmx", name, err)
	}
	// It is the master of that container's terminal: what is set here is seen there.
	resize := func(columns, rows uint16) {
		if err := unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows}); err != nil {
			t.Fatal(err)
		}
	}
	resize(77, 33)
	if out, err := runtime("start", id); err != nil {
		t.Fatalf("start: %s", out)
	}
	line, err := bufio.NewReader(terminal).ReadString('\n')
	if err != nil || line != "77x33\r\n" {
		t.Errorf("the program says that its terminal has %q (%v): want the size that was set at the master", line, err)
	}
	resize(1, 1) // its sign to end
}
