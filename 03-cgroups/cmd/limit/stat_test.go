//go:build linux

package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"drydock.example/01-chroot/hosttest"
	"golang.org/x/sys/unix"
)

// terminal returns both ends of a new pseudo-terminal (pty(7)).
func terminal(t *testing.T) (outside, inside *os.File) {
	t.Helper()
	outside, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("requires a pseudo-terminal: %v", err)
	}
	t.Cleanup(func() { outside.Close() })
	fd := int(outside.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	inside, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("requires a pseudo-terminal: %v", err)
	}
	t.Cleanup(func() { inside.Close() })
	return outside, inside
}

func TestStatIsLiveOnATerminal(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	self := func(args ...string) *exec.Cmd {
		cmd := exec.Command("/proc/self/exe", args...)
		cmd.Env = append(os.Environ(), limited+"=1")
		return cmd
	}
	box := self("-m", "64m", "--name", "live", "sh", "-c", "echo here; read end")
	stdin, err := box.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := box.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := box.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		stdin.Close()
		io.Copy(io.Discard, stdout)
		if err := box.Wait(); box.ProcessState.ExitCode() != 1 { // read meets the end of its input
			t.Error(err)
		}
	}()
	said := bufio.NewReader(stdout)
	if line, err := said.ReadString('\n'); line != "here\n" {
		t.Fatal(line, err)
	}

	outside, inside := terminal(t)
	live := self("stat", "live")
	live.Stdout = inside
	if err := live.Start(); err != nil {
		t.Fatal(err)
	}
	// Three screens, each drawn over the one before; from the second on the share
	// of a CPU is known.
	const anew = "\x1b[H\x1b[J"
	var screen strings.Builder
	buf := make([]byte, 4096)
	for strings.Count(screen.String(), anew) < 3 {
		n, err := outside.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		screen.Write(buf[:n])
	}
	screens := strings.Split(screen.String(), anew)
	for i, want := range []string{"-", "0%"} {
		lines := strings.Split(screens[i+1], "\r\n")
		if len(lines) < 2 || !strings.HasPrefix(lines[0], "NAME") {
			t.Fatalf("screen %d: %q", i, screens[i+1])
		}
		// NAME MEMORY LIMIT PEAK LOST OOM-KILLS CPU …; v1 measures no pressure, in two words.
		fields := strings.Fields(strings.Replace(lines[1], "not measured", "-", 1))
		if fields[0] != "live" || fields[2] != "64MiB" || fields[6] != want {
			t.Errorf("screen %d: %q, want live, 64MiB and %s", i, fields, want)
		}
	}
	if err := live.Process.Signal(unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := live.Wait(); err != nil {
		t.Errorf("after Ctrl-C: %v", err)
	}
}
