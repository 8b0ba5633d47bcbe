//go:build linux

package engine

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
)

// guest asks for an exec of the tests' program whose output is wanted.
func guest(args ...string) container.ExecCreateRequest {
	return container.ExecCreateRequest{Cmd: append([]string{"/guest"}, args...), AttachStdout: true, AttachStderr: true}
}

// execute runs an exec to its end.
func execute(t *testing.T, e *Engine, id, input string, req container.ExecCreateRequest) (stdout, stderr string, code int) {
	t.Helper()
	x, err := e.ExecCreate(t.Context(), id, req)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := e.ExecStart(t.Context(), x, container.ExecStartRequest{})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if req.AttachStdin {
		io.WriteString(conn, input)
		closeWrite(conn)
	}
	var out, errs bytes.Buffer
	if _, err := stdcopy.StdCopy(&out, &errs, conn); err != nil {
		t.Fatal(err)
	}
	// The exit code is known when the stream has ended.
	got, err := e.ExecInspect(t.Context(), x)
	if err != nil || got.Running || got.ExitCode == nil {
		t.Fatalf("after the end: %+v, %v", got, err)
	}
	return out.String(), errs.String(), *got.ExitCode
}

func background(t *testing.T, e *Engine, req container.CreateRequest) string {
	t.Helper()
	id := create(t, e, "", req)
	start(t, e, id)
	awaitLine(t, e, id, "running")
	return id
}

func TestExecIsLikeTheContainer(t *testing.T) {
	e := open(t)
	req := request("run")
	req.Config.Env, req.Config.Hostname = []string{"FROM=container"}, "ship"
	id := background(t, e, req)

	out, errs, code := execute(t, e, id, "", guest("self", "a", "b"))
	if fields := strings.SplitN(out, " ", 2); len(fields) != 2 || fields[1] != "0 0 [0 10] /work ship a+b\n" || fields[0] == "1" || errs != "" || code != 0 {
		t.Errorf("%q, %q, %d", out, errs, code)
	}
	other := guest("self")
	other.User, other.WorkingDir = "sailor", "/tmp"
	if out, _, _ := execute(t, e, id, "", other); !strings.Contains(out, " 1000 1001 [1001 1002] /tmp ship") {
		t.Errorf("as sailor: %q", out)
	}
	env := guest("env")
	env.Env, env.User, env.Cmd = []string{"KEPT=exec", "NEW=1"}, "sailor", []string{"/guest", "env"}
	out, _, _ = execute(t, e, id, "", env)
	for _, want := range []string{"FROM=container\n", "KEPT=exec\n", "NEW=1\n", "HOME=/home/sailor\n", "HOSTNAME=ship\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("the environment lacks %q:\n%s", want, out)
		}
	}
	// Root has what the container has, others nothing; the filter holds both.
	for user, want := range map[string]string{"": "00000000a80425fb", "sailor": "0000000000000000"} {
		caps := guest("read", "/proc/self/status")
		caps.User = user
		if out, _, _ := execute(t, e, id, "", caps); !strings.Contains(out, "CapEff:\t"+want) || !strings.Contains(out, "CapBnd:\t00000000a80425fb") || !strings.Contains(out, "Seccomp:\t2") {
			t.Errorf("as %q: %s", user, out)
		}
	}
	in := guest("cat")
	in.AttachStdin = true
	if out, _, code := execute(t, e, id, "over the side", in); out != "over the side" || code != 0 {
		t.Errorf("cat: %q, %d", out, code)
	}
	if _, _, code := execute(t, e, id, "", guest("exit", "7")); code != 7 {
		t.Errorf("exit code %d, want 7", code)
	}
	if out, errs, _ := execute(t, e, id, "", guest("print", "to out", "to err")); out != "to out\n" || errs != "to err\n" {
		t.Errorf("%q, %q", out, errs)
	}
	// What the image's files say of a user counts as the container has them now.
	execute(t, e, id, "", guest("write", "/etc/passwd", "root:x:0:0::/root:\nbosun:x:7:7::/deck:\n"))
	bosun := guest("self")
	bosun.User = "bosun"
	if out, _, _ := execute(t, e, id, "", bosun); !strings.Contains(out, " 7 7 [7] ") {
		t.Errorf("as bosun: %q", out)
	}
	if out, errs := logs(t, e, id, LogOptions{Stdout: true, Stderr: true, Tail: -1}); out+errs != "running\n" {
		t.Errorf("the container's own log has %q, %q", out, errs)
	}
}

// The reason is the output, and the exit code a shell's.
func TestExecOfWhatCannotBeExecuted(t *testing.T) {
	e := open(t)
	id := background(t, e, request("run"))
	for _, test := range []struct {
		req  container.ExecCreateRequest
		want string
		code int
	}{
		{container.ExecCreateRequest{Cmd: []string{"nosuch"}}, `exec: "nosuch": executable file not found in $PATH`, 127},
		{container.ExecCreateRequest{Cmd: []string{"/nosuch"}}, "no such file or directory", 127},
		{container.ExecCreateRequest{Cmd: []string{"/not-a-program"}}, "permission denied", 126},
		{container.ExecCreateRequest{Cmd: []string{"/guest"}, User: "nobody-knows"}, "unable to find user nobody-knows", 128},
	} {
		test.req.AttachStdout = true
		out, _, code := execute(t, e, id, "", test.req)
		if !strings.Contains(out, test.want) || !strings.HasSuffix(out, "\r\n") || code != test.code {
			t.Errorf("%v: %q, %d", test.req.Cmd, out, code)
		}
		x, err := e.ExecCreate(t.Context(), id, test.req)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.ExecStart(t.Context(), x, container.ExecStartRequest{Detach: true}); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%v, detached: %v", test.req.Cmd, err)
		}
		if got, err := e.ExecInspect(t.Context(), x); err != nil || got.ExitCode == nil || *got.ExitCode != test.code {
			t.Errorf("%v, detached: %+v, %v", test.req.Cmd, got, err)
		}
	}
}

func TestExecRefuses(t *testing.T) {
	e := open(t)
	id := background(t, e, request("run"))
	stopped := create(t, e, "stopped", request("run"))
	for want, test := range map[string]struct {
		id  string
		req container.ExecCreateRequest
		is  func(error) bool
	}{
		"No exec command specified":                                               {id, container.ExecCreateRequest{}, errdefs.IsInvalidArgument},
		"Privileged is not supported by this engine":                              {id, container.ExecCreateRequest{Cmd: []string{"x"}, Privileged: true}, errdefs.IsInvalidArgument},
		"the working directory 'tmp' is invalid, it needs to be an absolute path": {id, container.ExecCreateRequest{Cmd: []string{"x"}, WorkingDir: "tmp"}, errdefs.IsInvalidArgument},
		"invalid detach keys (ctrl-ö): unknown character: 'ctrl-ö'":               {id, container.ExecCreateRequest{Cmd: []string{"x"}, DetachKeys: "ctrl-ö"}, errdefs.IsInvalidArgument},
		"No such container: nosuch":                                               {"nosuch", container.ExecCreateRequest{Cmd: []string{"x"}}, errdefs.IsNotFound},
		"container " + stopped + " is not running":                                {"stopped", container.ExecCreateRequest{Cmd: []string{"x"}}, errdefs.IsConflict},
	} {
		if _, err := e.ExecCreate(t.Context(), test.id, test.req); err == nil || err.Error() != want || !test.is(err) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, err := e.ExecStart(t.Context(), "nosuch", container.ExecStartRequest{}); !errdefs.IsNotFound(err) || err.Error() != "No such exec instance: nosuch" {
		t.Errorf("an exec that nobody created: %v", err)
	}
	x, err := e.ExecCreate(t.Context(), id, guest("wait"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.ExecStart(t.Context(), x, container.ExecStartRequest{Detach: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.ExecStart(t.Context(), x, container.ExecStartRequest{}); !errdefs.IsConflict(err) {
		t.Errorf("started twice: %v", err)
	}
	if r, err := e.ContainerInspect(t.Context(), id); err != nil || len(r.ExecIDs) != 1 || r.ExecIDs[0] != x {
		t.Errorf("the container's execs are %v, %v", r.ExecIDs, err)
	}
	if got, err := e.ExecInspect(t.Context(), x); err != nil || !got.Running || got.Pid == 0 || got.ContainerID != id || got.ProcessConfig.Entrypoint != "/guest" {
		t.Errorf("%+v, %v", got, err)
	}
	// One that was asked for and is started after the container's end.
	late, err := e.ExecCreate(t.Context(), id, guest("self"))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.ContainerKill(t.Context(), id, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := e.ExecStart(t.Context(), late, container.ExecStartRequest{}); !errdefs.IsConflict(err) {
		t.Errorf("started after the end: %v", err)
	}
	// What ran has ended with the container.
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		got, err := e.ExecInspect(t.Context(), x)
		if err == nil && got.ExitCode != nil {
			if *got.ExitCode != 137 {
				t.Errorf("it ended with %d, want 137", *got.ExitCode)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("it goes on: %+v, %v", got, err)
		}
	}
	if _, err := e.ExecStart(t.Context(), x, container.ExecStartRequest{}); !errdefs.IsConflict(err) || !strings.HasSuffix(err.Error(), "has already run") {
		t.Errorf("started again after its end: %v", err)
	}
}

func TestExecOnATerminal(t *testing.T) {
	e := open(t)
	id := background(t, e, request("run"))
	req := guest("ticks")
	req.Tty, req.AttachStdin, req.DetachKeys = true, true, "ctrl-x,x"
	x, err := e.ExecCreate(t.Context(), id, req)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := e.ExecStart(t.Context(), x, container.ExecStartRequest{ConsoleSize: &[2]uint{20, 60}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "one\n")
	until(t, conn, "got one\r\n")
	if err := e.ExecResize(t.Context(), x, 40, 100); err != nil {
		t.Error(err)
	}
	if err := e.ExecResize(t.Context(), x, 1<<16, 1); !errdefs.IsInvalidArgument(err) {
		t.Errorf("a size of 65536 lines: %v", err)
	}
	io.WriteString(conn, "\x18x")
	if got, err := e.ExecInspect(t.Context(), x); err != nil || !got.Running {
		t.Errorf("after the detach keys: %+v, %v", got, err)
	}
}
