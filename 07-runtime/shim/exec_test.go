//go:build linux

package shim_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/explain"
	"drydock.example/07-runtime/bundletest"
	"drydock.example/07-runtime/shim"
)

// program is a further process of the container that executes the tests' program.
func (c *container) program(args ...string) *specs.Process {
	p := *c.Spec.Process
	p.Args = append([]string{bundletest.Program}, args...)
	return &p
}

// sleeping is a container that runs until it is killed.
func sleeping(t *testing.T, runtime string) *container {
	t.Helper()
	c := newContainer(t, runtime, "sleep")
	c.create()
	c.start()
	return c
}

func (c *container) kill() {
	c.t.Helper()
	if err := c.client.Signal(within(c.t), unix.SIGKILL); err != nil {
		c.t.Fatal(err)
	}
	c.wait()
	c.nothingIsLeft()
	if left, _ := filepath.Glob(filepath.Join(c.Dir, "exec-*")); len(left) > 0 {
		c.t.Errorf("left: %v", left)
	}
}

func TestExecHasStreamsAndAnExitStatus(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, runtime string) {
		c := sleeping(t, runtime)
		_, conn, err := c.client.Exec(within(t), "one", c.program("both"), &shim.AttachOptions{Stdout: true, Stderr: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if out, err := unframe(t, conn); out != "to stdout\n" || err != "to stderr\n" {
			t.Errorf("%q and %q", out, err)
		}
		if exit, err := c.client.WaitExec(within(t), "one"); err != nil || exit.Code != 0 {
			t.Errorf("%+v, %v", exit, err)
		}

		_, conn, err = c.client.Exec(within(t), "two", c.program("cat"), &shim.AttachOptions{Stdin: true, Stdout: true, CloseStdin: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		io.WriteString(conn, "there and back")
		conn.CloseWrite()
		if out, _ := unframe(t, conn); out != "there and back" {
			t.Errorf("cat says %q", out)
		}

		for code, args := range map[int][]string{42: {"exit", "42"}, 128 + 9: {"kill", "9"}} {
			if _, _, err := c.client.Exec(within(t), "three", c.program(args...), nil); err != nil {
				t.Fatal(err)
			}
			if exit, err := c.client.WaitExec(within(t), "three"); err != nil || exit.Code != code {
				t.Errorf("%v: %+v, %v", args, exit, err)
			}
		}
		if out, err, _ := c.logged(); out+err != "" {
			t.Errorf("the container's log has %q and %q", out, err)
		}
		if _, err := c.client.WaitExec(within(t), "three"); !errdefs.IsNotFound(err) {
			t.Errorf("a second wait: %v", err)
		}
		c.kill()
	})
}

func TestExecOnATerminal(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, runtime string) {
		c := sleeping(t, runtime)
		p := c.program("sizes")
		p.Terminal, p.ConsoleSize = true, &specs.Box{Height: 20, Width: 60}
		_, conn, err := c.client.Exec(within(t), "t", p, &shim.AttachOptions{Stdin: true, Stdout: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		in := bufio.NewReader(conn)
		for _, size := range [][2]uint16{{60, 20}, {100, 40}, {1, 1}} {
			if size[0] != 60 {
				if err := c.client.ResizeExec(within(t), "t", size[1], size[0]); err != nil {
					t.Fatal(err)
				}
			}
			if line, err := in.ReadString('\n'); err != nil || line != fmt.Sprintf("%dx%d\r\n", size[0], size[1]) {
				t.Fatalf("%q, %v: want %v", line, err, size)
			}
		}
		if exit, err := c.client.WaitExec(within(t), "t"); err != nil || exit.Code != 0 {
			t.Errorf("%+v, %v", exit, err)
		}
		if err := c.client.ResizeExec(within(t), "t", 1, 1); !errdefs.IsNotFound(err) {
			t.Errorf("resize of what has ended: %v", err)
		}
		c.kill()
	})
}

// What cannot be executed leaves nothing, and the container goes on.
func TestExecThatFails(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, runtime string) {
		c := sleeping(t, runtime)
		missing := c.program()
		missing.Args = []string{"no-such-program"}
		_, _, err := c.client.Exec(within(t), "one", missing, &shim.AttachOptions{Stdout: true})
		if err == nil || !strings.Contains(err.Error(), "no-such-program") {
			t.Errorf("no such program: %v", err)
		}
		for _, id := range []string{"", "a/b", "../x"} {
			if _, _, err := c.client.Exec(within(t), id, c.program("exit", "0"), nil); err == nil {
				t.Errorf("the id %q was taken", id)
			}
		}
		if _, _, err := c.client.Exec(within(t), "twice", c.program("sleep"), nil); err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.client.Exec(within(t), "twice", c.program("sleep"), nil); !errdefs.IsInvalidArgument(err) {
			t.Errorf("an id that is taken: %v", err)
		}
		c.kill()
		if _, _, err := c.client.Exec(within(t), "late", c.program("exit", "0"), nil); !errdefs.IsUnavailable(err) {
			t.Errorf("after the end: %v", err)
		}
	})
}

// Many at once, each with its own output and status; those that still run end
// with the container, and whoever waits for them is told.
func TestExecsSideBySide(t *testing.T) {
	forEachRuntime(t, func(t *testing.T, runtime string) {
		c := sleeping(t, runtime)
		var all sync.WaitGroup
		for i := range 10 {
			all.Go(func() {
				id := fmt.Sprint("n", i)
				_, conn, err := c.client.Exec(within(t), id, c.program("echo", id), &shim.AttachOptions{Stdout: true})
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				if out, _ := unframe(t, conn); out != id+"\n" {
					t.Errorf("%s says %q", id, out)
				}
				if exit, err := c.client.WaitExec(within(t), id); err != nil || exit.Code != 0 {
					t.Errorf("%s: %+v, %v", id, exit, err)
				}
			})
		}
		all.Wait()
		if _, _, err := c.client.Exec(within(t), "last", c.program("sleep"), nil); err != nil {
			t.Fatal(err)
		}
		last := make(chan shim.Exit, 1)
		go func() {
			exit, err := c.client.WaitExec(within(t), "last")
			if err != nil {
				t.Error(err)
			}
			last <- exit
		}()
		// The question has arrived when one that was asked later is answered.
		if _, err := c.client.Status(within(t)); err != nil {
			t.Fatal(err)
		}
		c.kill()
		if exit := <-last; exit.Signal != 9 {
			t.Errorf("the process that the container's end ended: %+v", exit)
		}
	})
}

// A process that has left a child with its output behind has ended all the same.
func TestExecDoesNotWaitForTheBackground(t *testing.T) {
	c := sleeping(t, runtimes(t)["drydock-runtime"])
	begun := time.Now()
	_, conn, err := c.client.Exec(within(t), "leaves", c.program("leave"), &shim.AttachOptions{Stdout: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if out, _ := unframe(t, conn); !strings.HasPrefix(out, "left ") {
		t.Errorf("%q", out)
	}
	if exit, err := c.client.WaitExec(within(t), "leaves"); err != nil || exit.Code != 0 {
		t.Errorf("%+v, %v", exit, err)
	}
	if took := time.Since(begun); took > 8*time.Second {
		t.Errorf("it took %v", took)
	}
	c.kill()
}

// What happens in the runtime and in the process is told to who asked.
func TestExecIsExplained(t *testing.T) {
	c := sleeping(t, runtimes(t)["drydock-runtime"])
	var told lockedBuffer
	ctx := explain.With(within(t), explain.Text(&told))
	if _, _, err := c.client.Exec(ctx, "one", c.program("exit", "0"), nil); err != nil {
		t.Fatal(err)
	}
	// All is told when Exec returns.
	for _, want := range []string{"execve(\"" + c.Runtime, "setns(", "execve(\"" + bundletest.Program} {
		if !strings.Contains(told.String(), want) {
			t.Errorf("%q is missing in\n%s", want, told.String())
		}
	}
	if _, err := c.client.WaitExec(within(t), "one"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(c.Dir, shim.ExecFile("one"))); !os.IsNotExist(err) {
		t.Errorf("the description is still there: %v", err)
	}
	c.kill()
}
