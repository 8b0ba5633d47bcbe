//go:build linux

package cli_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/hosttest"
)

// screen is a terminal with a program on it, as a person has it.
type screen struct {
	t       *testing.T
	master  *os.File
	program *exec.Cmd
	seen    bytes.Buffer
}

// newScreen starts a program on a terminal of the given size (pts(4)).
func newScreen(t *testing.T, rows, columns uint16, program string, args ...string) *screen {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	s := &screen{t: t, master: master, program: exec.Command(program, args...)}
	s.resize(rows, columns)
	s.program.Stdin, s.program.Stdout, s.program.Stderr = slave, slave, slave
	s.program.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := s.program.Start(); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *screen) resize(rows, columns uint16) {
	s.t.Helper()
	if err := unix.IoctlSetWinsize(int(s.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *screen) typed(keys string) {
	s.t.Helper()
	if _, err := io.WriteString(s.master, keys); err != nil {
		s.t.Fatal(err)
	}
}

// until reads what is shown until text is among it, and returns all of it.
func (s *screen) until(text string) string {
	s.t.Helper()
	piece := make([]byte, 4096)
	for !strings.Contains(s.seen.String(), text) {
		n, err := s.master.Read(piece)
		if err != nil {
			s.t.Fatalf("%q is not shown (%v), but %q", text, err, s.seen.String())
		}
		s.seen.Write(piece[:n])
	}
	return s.seen.String()
}

// status returns the program's exit status, after the rest of what it shows.
func (s *screen) status() int {
	s.t.Helper()
	// The slave's last descriptor is closed: EIO.
	_, _ = io.Copy(&s.seen, s.master)
	_ = s.program.Wait()
	return s.program.ProcessState.ExitCode()
}

// winsize returns the size of the terminal that a container's process has.
func winsize(t *testing.T, pid string) unix.Winsize {
	t.Helper()
	tty, err := os.OpenFile("/proc/"+pid+"/fd/0", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	size, err := unix.IoctlGetWinsize(int(tty.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		t.Fatal(err)
	}
	return *size
}

func TestTerminal(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.Overlay)
	d := running(t)
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	drydock := filepath.Join(bin, "drydock")
	inspect := func(format, name string) string {
		t.Helper()
		out, err := exec.Command(drydock, "-H", d.host, "inspect", "-f", format, name).CombinedOutput()
		if err != nil {
			t.Fatalf("inspect: %v: %s", err, out)
		}
		return strings.TrimSpace(string(out))
	}

	s := newScreen(t, 33, 77, drydock, "-H", d.host, "run", "-it", "--name", "shell", "box", "sh", "-c",
		"echo ready; read line; echo got $line; read line; exit 5")
	s.until("ready\r\n")
	// The size is there when the program begins, not some time after.
	pid := inspect("{{.State.Pid}}", "shell")
	if size := winsize(t, pid); size.Row != 33 || size.Col != 77 {
		t.Errorf("the container's terminal has %d rows of %d, want 33 of 77", size.Row, size.Col)
	}
	// The container's terminal echoes and ends the line; this one does neither.
	s.typed("a\x7fword\r")
	s.until("got word\r\n")

	// The user leaves, the container stays.
	s.typed("\x10\x11")
	if status := s.status(); status != 0 {
		t.Errorf("detached with status %d, want 0: %q", status, s.seen.String())
	}
	if state := inspect("{{.State.Status}}", "shell"); state != "running" {
		t.Errorf("after detaching the container is %s", state)
	}

	// Back again, on a terminal of another size. Keys of the user's choice, too.
	s = newScreen(t, 20, 60, drydock, "-H", d.host, "--explain", "attach", "--detach-keys", "ctrl-x,x", "shell")
	s.until("/resize?h=20&w=60")
	s.resize(21, 61)
	s.until("/resize?h=21&w=61")
	// The request is told before it is made: who leaves at once takes it along.
	for end := time.Now().Add(10 * time.Second); ; {
		size := winsize(t, pid)
		if size.Row == 21 && size.Col == 61 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the container's terminal has %d rows of %d, want 21 of 61", size.Row, size.Col)
		}
	}
	s.typed("\x18x")
	if status := s.status(); status != 0 {
		t.Errorf("detached with status %d, want 0: %q", status, s.seen.String())
	}
	s = newScreen(t, 20, 60, drydock, "-H", d.host, "attach", "shell")
	s.until("")
	s.typed("\r")
	if status := s.status(); status != 5 {
		t.Errorf("exit status %d, want 5: %q", status, s.seen.String())
	}
	// Ctrl-C is a key, and it is the container's.
	s = newScreen(t, 24, 80, drydock, "-H", d.host, "run", "-it", "--rm", "box", "sh", "-c", "echo ready; sleep 1000")
	s.until("ready\r\n")
	s.typed("\x03")
	if status := s.status(); status == 0 || status == 125 {
		t.Errorf("exit status %d after Ctrl-C: %q", status, s.seen.String())
	}
}

// SIGTERM to the client of a container without a terminal is the container's.
func TestSignalsAreTheContainers(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.Overlay)
	d := running(t)
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(bin, "drydock"), "-H", d.host, "run", "--rm", "box", "sh", "-c", "echo ready; sleep 1000")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("ready\n"))); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	// The client ended by an exit, with the container's status, and not by the signal.
	if status := cmd.ProcessState; status.ExitCode() <= 0 || status.ExitCode() == 128+15 && !status.Exited() {
		t.Errorf("the client: %v, %v", status, err)
	}
	left, err := exec.Command(filepath.Join(bin, "drydock"), "-H", d.host, "ps", "-aq").Output()
	if err != nil || len(left) != 0 {
		t.Errorf("left: %s, %v", left, err)
	}
}
