//go:build linux

package engine

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"drydock.example/01-chroot/hosttest"
)

func TestMain(m *testing.M) {
	if opt := os.Getenv(envEngine); opt != "" {
		runEngine(opt)
		return
	}
	code := hosttest.Run(m)
	os.RemoveAll(programsDir)
	os.Exit(code)
}

// envRuntime names another OCI runtime for the tests, such as runc.
const envRuntime = "DRYDOCK_TEST_RUNTIME"

var programsDir string

// programs builds what the tests run: the shim, the runtime and the guest.
var programs = sync.OnceValues(func() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "engine-test-programs-"); err != nil {
		return "", err
	}
	programsDir = dir
	packages := []string{"drydock.example/07-runtime/cmd/drydock-shim", "./testdata/guest"}
	if os.Getenv(envRuntime) == "" {
		packages = append(packages, "drydock.example/07-runtime/cmd/drydock-runtime")
	}
	build := exec.Command("go", append([]string{"build", "-o", dir + "/"}, packages...)...)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return dir, nil
})

// options returns the options of an engine that lives in the test's own directories.
func options(t testing.TB) Options {
	t.Helper()
	hosttest.Require(t, hosttest.Root, hosttest.Overlay)
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	base := t.TempDir()
	runtime := filepath.Join(dir, "drydock-runtime")
	if other := os.Getenv(envRuntime); other != "" {
		runtime = other
	}
	return Options{
		Root: filepath.Join(base, "root"), State: filepath.Join(base, "state"),
		Runtime: runtime, Shim: filepath.Join(dir, "drydock-shim"),
		CgroupParent: hosttest.Cgroup(), Version: "test",
		Builtin: []Builtin{{
			Name: "guest",
			Config: ocispec.Image{Config: ocispec.ImageConfig{
				Entrypoint: []string{"/guest"}, Cmd: []string{"print", "out", "err"},
				Env: []string{"FROM=image", "KEPT=image"}, WorkingDir: "/work", Labels: map[string]string{"made": "here"},
			}},
			Layer: func() (io.ReadCloser, error) { return guestLayer(dir) },
		}},
	}
}

// open opens an engine, which is closed at the end of the test with all of its containers gone.
func open(t testing.TB) *Engine {
	t.Helper()
	return openWith(t, options(t))
}

func openWith(t testing.TB, opt Options) *Engine {
	t.Helper()
	e, err := Open(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		for _, c := range e.all() {
			if err := e.ContainerRemove(ctx, c.id, true, false); err != nil {
				t.Errorf("remove %s: %v", c.id, err)
			}
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		for _, dir := range []string{filepath.Join(opt.Root, "containers"), filepath.Join(opt.State, "containers"), filepath.Join(opt.State, "runtime")} {
			if left, err := os.ReadDir(dir); err == nil && len(left) > 0 {
				t.Errorf("%s is left in %s", left, dir)
			}
		}
	})
	return e
}

// guestLayer is the root of the image "guest".
func guestLayer(dir string) (io.ReadCloser, error) {
	program, err := os.ReadFile(filepath.Join(dir, "guest"))
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range []struct {
		name string
		mode int64
		text string
	}{
		{"guest", 0o755, string(program)},
		{"not-a-program", 0o644, "text"},
		{"etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\nsailor:x:1000:1001:Sailor:/home/sailor:/bin/sh\n"},
		{"etc/group", 0o644, "root:x:0:\nwheel:x:10:root\nsailors:x:1001:\ncrew:x:1002:sailor\n"},
		{"shared", 0o644, "from the image"},
	} {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.text)), Typeflag: tar.TypeReg}); err != nil {
			return nil, err
		}
		io.WriteString(w, f.text)
	}
	for _, name := range []string{"work/", "tmp/"} {
		w.WriteHeader(&tar.Header{Name: name, Mode: 0o777, Typeflag: tar.TypeDir})
	}
	return io.NopCloser(&buf), w.Close()
}

// spec is a request for a container of the image "guest" with these arguments.
func request(args ...string) container.CreateRequest {
	return container.CreateRequest{
		Config:     &container.Config{Image: "guest", Cmd: args},
		HostConfig: &container.HostConfig{NetworkMode: "none"},
	}
}

func create(t *testing.T, e *Engine, name string, req container.CreateRequest) string {
	t.Helper()
	r, err := e.ContainerCreate(t.Context(), name, req)
	if err != nil {
		t.Fatal(err)
	}
	return r.ID
}

func start(t *testing.T, e *Engine, id string) {
	t.Helper()
	if err := e.ContainerStart(t.Context(), id); err != nil {
		t.Fatal(err)
	}
}

// wait waits until the condition is met and returns the exit code.
func wait(t *testing.T, e *Engine, id string, condition container.WaitCondition) int64 {
	t.Helper()
	c, err := e.ContainerWait(t.Context(), id, condition)
	if err != nil {
		t.Fatal(err)
	}
	return receive(t, c)
}

func receive(t *testing.T, c <-chan container.WaitResponse) int64 {
	t.Helper()
	select {
	case r := <-c:
		return r.StatusCode
	case <-time.After(20 * time.Second):
		t.Fatal("the container has not ended")
	}
	return -1
}

// run runs a container to its end and returns its output and its exit code. The container stays.
func runToEnd(t *testing.T, e *Engine, req container.CreateRequest) (id, stdout, stderr string, code int64) {
	t.Helper()
	id = create(t, e, "", req)
	start(t, e, id)
	code = wait(t, e, id, "")
	stdout, stderr = logs(t, e, id, LogOptions{Stdout: true, Stderr: true, Tail: -1})
	return id, stdout, stderr, code
}

// logs returns the log's two streams.
func logs(t *testing.T, e *Engine, id string, opt LogOptions) (stdout, stderr string) {
	t.Helper()
	var framed, out, err bytes.Buffer
	if err := e.ContainerLogs(t.Context(), id, opt, &framed); err != nil {
		t.Fatal(err)
	}
	if _, e := stdcopy.StdCopy(&out, &err, &framed); e != nil {
		t.Fatal(e)
	}
	return out.String(), err.String()
}

// awaitLine returns when the container has written the line.
func awaitLine(t *testing.T, e *Engine, id, line string) { t.Helper(); awaitLines(t, e, id, line, 1) }

// awaitLines returns when the container has written the line so many times, in all of its runs.
func awaitLines(t *testing.T, e *Engine, id, line string, times int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	found := &lineWatch{line: line, times: times, found: cancel}
	e.ContainerLogs(ctx, id, LogOptions{Stdout: true, Stderr: true, Tail: -1, Follow: true}, found)
	if !found.seen {
		t.Fatalf("the container has not written %q but %q", line, found.text.String())
	}
}

type lineWatch struct {
	line  string
	times int
	found func()
	seen  bool
	text  strings.Builder
}

func (w *lineWatch) Write(p []byte) (int, error) {
	w.text.Write(p)
	if strings.Count(w.text.String(), w.line+"\n") >= w.times {
		w.seen = true
		w.found()
	}
	return len(p), nil
}

func stateOf(t *testing.T, e *Engine, id string) *container.State {
	t.Helper()
	r, err := e.ContainerInspect(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return r.State
}
