//go:build linux

package engine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"

	"drydock.example/01-chroot/hosttest"
)

// minded is a request for a container with a process 1 beside the program.
func minded(t *testing.T, args ...string) container.CreateRequest {
	t.Helper()
	if os.Getenv(envRuntime) != "" {
		t.Skip(envRuntime + " is set: another runtime has no process 1 to give")
	}
	req := request(args...)
	req.HostConfig.Init = new(true)
	return req
}

func TestInitWaitsForOrphans(t *testing.T) {
	e := open(t)
	if _, out, stderr, code := runToEnd(t, e, request("orphan")); out != "zombie\n" || code != 0 {
		t.Errorf("without: %q %q %d", out, stderr, code)
	}
	id, out, stderr, code := runToEnd(t, e, minded(t, "orphan"))
	if out != "reaped\n" || code != 0 {
		t.Errorf("with: %q %q %d", out, stderr, code)
	}
	if r, err := e.ContainerInspect(t.Context(), id); err != nil || r.HostConfig.Init == nil || !*r.HostConfig.Init {
		t.Errorf("inspect: %+v, %v", r.HostConfig, err)
	}
}

func TestInitPassesSignalsOn(t *testing.T) {
	e := open(t)
	for _, c := range []struct {
		args, user, lines string
		code              int64
	}{
		{"run", "", "running\nterminated\n", 3},
		{"run", "sailor", "running\nterminated\n", 3},
		{"wait", "", "running\n", 128 + 15}, // the kernel does not end a process 1 by what that has not asked for
	} {
		req := minded(t, c.args)
		req.Config.User = c.user
		id := create(t, e, "", req)
		start(t, e, id)
		awaitLine(t, e, id, "running")
		ended, err := e.ContainerWait(t.Context(), id, "")
		if err != nil {
			t.Fatal(err)
		}
		if err := e.ContainerKill(t.Context(), id, "SIGTERM"); err != nil {
			t.Fatal(err)
		}
		code := receive(t, ended)
		if out, stderr := logs(t, e, id, LogOptions{Stdout: true, Stderr: true, Tail: -1}); code != c.code || out != c.lines {
			t.Errorf("%s as %q: %q %q, exit code %d, want %q and %d", c.args, c.user, out, stderr, code, c.lines, c.code)
		}
	}
}

// A runtime that knows nothing of the annotation would leave the process out.
func TestInitWithAnotherRuntime(t *testing.T) {
	hosttest.Require(t, hosttest.Program("runc"))
	opt := options(t)
	req := minded(t, "run")
	e := openWith(t, opt)
	id := create(t, e, "", req)
	const words = "HostConfig.Init (--init) is not supported with the runtime "
	for _, runtime := range []string{"runc", filepath.Join(opt.Root, "missing")} {
		e.opt.Runtime = runtime
		_, err := e.ContainerCreate(t.Context(), "", req)
		if !errdefs.IsInvalidArgument(err) || !strings.HasPrefix(err.Error(), words+filepath.Base(runtime)+": ") {
			t.Errorf("create with %s: %v", runtime, err)
		}
		if err := e.ContainerStart(t.Context(), id); err == nil || !strings.HasPrefix(err.Error(), words) {
			t.Errorf("start with %s: %v", runtime, err)
		}
	}
	e.opt.Runtime = opt.Runtime // removal deletes by it
}
