//go:build linux

package engine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
)

// A container is created, started, ends, is started again with what it wrote, and is removed.
func TestLifecycle(t *testing.T) {
	e := open(t)
	id := create(t, e, "boat", request("once", "/tmp/mark"))
	if s := stateOf(t, e, id); s.Status != container.StateCreated || s.Running {
		t.Errorf("after create: %+v", s)
	}
	start(t, e, id)
	if code := wait(t, e, "boat", ""); code != 0 {
		t.Errorf("exit code %d", code)
	}
	start(t, e, "boat")
	wait(t, e, id[:12], "")
	if out, _ := logs(t, e, id, LogOptions{Stdout: true, Tail: -1}); out != "first\nagain\n" {
		t.Errorf("the log is %q: the writable layer is not the same one", out)
	}
	s := stateOf(t, e, id)
	if s.Status != container.StateExited || s.ExitCode != 0 || s.Pid != 0 || s.Error != "" {
		t.Errorf("after its end: %+v", s)
	}
	if err := e.ContainerRemove(t.Context(), "boat", false, false); err != nil {
		t.Fatal(err)
	}
	if _, err := e.ContainerInspect(t.Context(), id); !errdefs.IsNotFound(err) || err.Error() != "No such container: "+id {
		t.Errorf("after remove: %v", err)
	}
	if _, err := os.Stat(filepath.Join(e.opt.Root, "containers", id)); !os.IsNotExist(err) {
		t.Errorf("its directory: %v", err)
	}
}

func TestExitCode(t *testing.T) {
	e := open(t)
	if id, _, _, code := runToEnd(t, e, request("exit", "42")); code != 42 || stateOf(t, e, id).ExitCode != 42 {
		t.Errorf("exit code %d, state %+v", code, stateOf(t, e, id))
	}
}

// The program sees what image and request say, the request first.
func TestConfigReachesTheProgram(t *testing.T) {
	e := open(t)
	req := request("self", "a", "b c")
	req.Config.Hostname = "anchor"
	req.Config.User = "sailor"
	if _, out, _, _ := runToEnd(t, e, req); out != "1 1000 1001 [1001 1002] /work anchor a+b c\n" {
		t.Errorf("self says %q", out)
	}
	req = request("self")
	req.Config.User, req.Config.WorkingDir = "7:8", "/tmp"
	id, out, _, _ := runToEnd(t, e, req)
	if want := "1 7 8 [8] /tmp " + id[:12] + " \n"; out != want {
		t.Errorf("self says %q, want %q", out, want)
	}

	req = request("env")
	req.Config.Env = []string{"FROM=request", "MORE=1", "PATH"}
	req.Config.Hostname = "h"
	if _, out, _, _ := runToEnd(t, e, req); out != "FROM=request\nHOME=/root\nHOSTNAME=h\nKEPT=image\nMORE=1\n" {
		t.Errorf("env says %q", out)
	}
	req = request("print", "x", "y")
	req.Config.User = "nobody-here"
	id = create(t, e, "", req)
	if err := e.ContainerStart(t.Context(), id); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), "unable to find user nobody-here: no matching entries in passwd file") {
		t.Errorf("an unknown user: %v", err)
	}
}

func TestEntrypointAndCommand(t *testing.T) {
	e := open(t)
	for _, c := range []struct {
		name            string
		entrypoint, cmd []string
		path, args      string
	}{
		{"the image's", nil, nil, "/guest", "print out err"},
		{"own arguments", nil, []string{"exit", "1"}, "/guest", "exit 1"},
		{"own entrypoint takes no arguments of the image", []string{"/other"}, nil, "/other", ""},
		{"both", []string{"/other", "a"}, []string{"b"}, "/other", "a b"},
		{"no entrypoint", []string{""}, []string{"/prog", "x"}, "/prog", "x"},
	} {
		req := request(c.cmd...)
		req.Config.Entrypoint = c.entrypoint
		r, err := e.ContainerInspect(t.Context(), create(t, e, "", req))
		if err != nil || r.Path != c.path || strings.Join(r.Args, " ") != c.args {
			t.Errorf("%s: %s %q, %v", c.name, r.Path, r.Args, err)
		}
	}
	req := request()
	req.Config.Entrypoint = []string{""}
	if _, err := e.ContainerCreate(t.Context(), "", req); !errdefs.IsInvalidArgument(err) || err.Error() != "no command specified" {
		t.Errorf("nothing to run: %v", err)
	}
}

// A program that cannot be executed: Docker's words, its exit codes, and nothing left.
func TestProgramThatCannotBeExecuted(t *testing.T) {
	e := open(t)
	for _, c := range []struct {
		program, words string
		code           int
	}{
		{"no-such-program", "exec: \"no-such-program\": executable file not found in $PATH", 127},
		{"/no/such/program", "no such file or directory", 127},
		{"/not-a-program", "permission denied", 126},
	} {
		req := request()
		req.Config.Entrypoint = []string{c.program}
		req.HostConfig.NetworkMode = "bridge"
		id := create(t, e, "", req)
		err := e.ContainerStart(t.Context(), id)
		if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v", c.program, err)
		}
		if s := stateOf(t, e, id); s.Status != container.StateCreated || s.ExitCode != c.code || !strings.Contains(s.Error, c.words) {
			t.Errorf("%s: state %+v", c.program, s)
		}
		if _, err := os.Stat(filepath.Join(e.opt.State, "containers", id)); !os.IsNotExist(err) {
			t.Errorf("%s: its bundle is left: %v", c.program, err)
		}
		if plugged, err := e.bridge.network.Endpoints(t.Context()); err != nil || len(plugged) > 0 {
			t.Errorf("%s: left in the network: %v, %v", c.program, plugged, err)
		}
	}

	// One that is to be removed at its end is removed, and whoever waits for that is told.
	req := request()
	req.Config.Entrypoint = []string{"no-such-program"}
	req.HostConfig.AutoRemove = true
	id := create(t, e, "", req)
	removed, err := e.ContainerWait(t.Context(), id, container.WaitConditionRemoved)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.ContainerStart(t.Context(), id); err == nil {
		t.Fatal("it started")
	}
	if code := receive(t, removed); code != 127 {
		t.Errorf("exit code %d", code)
	}
	if _, err := e.find(id); !errdefs.IsNotFound(err) {
		t.Errorf("it is still there: %v", err)
	}
}

func TestStop(t *testing.T) {
	e := open(t)
	id := create(t, e, "", request("run"))
	if err := e.ContainerStop(t.Context(), id, "", nil); !errdefs.IsNotModified(err) {
		t.Errorf("stop before start: %v", err)
	}
	if err := e.ContainerKill(t.Context(), id, ""); !errdefs.IsConflict(err) || !strings.Contains(err.Error(), "is not running") {
		t.Errorf("kill before start: %v", err)
	}
	start(t, e, id)
	if err := e.ContainerStart(t.Context(), id); !errdefs.IsNotModified(err) {
		t.Errorf("start twice: %v", err)
	}
	if err := e.ContainerRemove(t.Context(), id, false, false); !errdefs.IsConflict(err) || !strings.Contains(err.Error(), "container is running: stop the container before removing or force remove") {
		t.Errorf("remove while it runs: %v", err)
	}
	awaitLine(t, e, id, "running")
	if err := e.ContainerStop(t.Context(), id, "", nil); err != nil {
		t.Fatal(err)
	}
	if s := stateOf(t, e, id); s.ExitCode != 3 || s.Running {
		t.Errorf("after SIGTERM: %+v", s)
	}

	id = create(t, e, "", request("stubborn"))
	start(t, e, id)
	awaitLine(t, e, id, "running")
	now := 0
	if err := e.ContainerStop(t.Context(), id, "", &now); err != nil {
		t.Fatal(err)
	}
	if s := stateOf(t, e, id); s.ExitCode != 137 || s.Running {
		t.Errorf("after a stop that it ignores: %+v", s)
	}
	if err := e.ContainerKill(t.Context(), id, "SIGWHAT"); !errdefs.IsInvalidArgument(err) || err.Error() != "invalid signal: SIGWHAT" {
		t.Errorf("a signal that there is not: %v", err)
	}
}

func TestKill(t *testing.T) {
	e := open(t)
	id := create(t, e, "", request("run"))
	start(t, e, id)
	awaitLine(t, e, id, "running")
	if err := e.ContainerKill(t.Context(), id, "TERM"); err != nil {
		t.Fatal(err)
	}
	if code := wait(t, e, id, ""); code != 3 {
		t.Errorf("after SIGTERM: %d", code)
	}
	start(t, e, id)
	if err := e.ContainerRemove(t.Context(), id, true, false); err != nil {
		t.Errorf("remove by force: %v", err)
	}
}

func TestWaitConditions(t *testing.T) {
	e := open(t)
	req := request("run")
	req.HostConfig.AutoRemove = true
	id := create(t, e, "", req)
	if code := wait(t, e, id, container.WaitConditionNotRunning); code != 0 {
		t.Errorf("not-running of a created container: %d", code)
	}
	next, err := e.ContainerWait(t.Context(), id, container.WaitConditionNextExit)
	if err != nil {
		t.Fatal(err)
	}
	removed, err := e.ContainerWait(t.Context(), id, container.WaitConditionRemoved)
	if err != nil {
		t.Fatal(err)
	}
	start(t, e, id)
	notRunning, err := e.ContainerWait(t.Context(), id, "")
	if err != nil {
		t.Fatal(err)
	}
	select {
	case r := <-next:
		t.Fatalf("next-exit says %+v while it runs", r)
	case r := <-notRunning:
		t.Fatalf("not-running says %+v while it runs", r)
	default:
	}
	awaitLine(t, e, id, "running")
	if err := e.ContainerKill(t.Context(), id, "SIGTERM"); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]<-chan container.WaitResponse{"next-exit": next, "not-running": notRunning, "removed": removed} {
		if code := receive(t, c); code != 3 {
			t.Errorf("%s: %d", name, code)
		}
	}
	if _, err := e.find(id); !errdefs.IsNotFound(err) {
		t.Errorf("it was to be removed at its end: %v", err)
	}
	if _, err := e.ContainerWait(t.Context(), id, "whenever"); !errdefs.IsInvalidArgument(err) {
		t.Errorf("an unknown condition: %v", err)
	}
}

func TestNames(t *testing.T) {
	e := open(t)
	id := create(t, e, "boat", request())
	_, err := e.ContainerCreate(t.Context(), "/boat", request())
	want := `Conflict. The container name "/boat" is already in use by container "` + id + `". You have to remove (or rename) that container to be able to reuse that name.`
	if !errdefs.IsConflict(err) || err.Error() != want {
		t.Errorf("a name that is taken: %v", err)
	}
	if _, err := e.ContainerCreate(t.Context(), "a b", request()); !errdefs.IsInvalidArgument(err) {
		t.Errorf("a name that is none: %v", err)
	}
	if err := e.ContainerRemove(t.Context(), "/boat", false, false); err != nil {
		t.Fatal(err)
	}
	create(t, e, "boat", request())
	other := create(t, e, "", request())
	r, err := e.ContainerInspect(t.Context(), other)
	if err != nil || !strings.Contains(r.Name, "_") {
		t.Errorf("a random name: %q, %v", r.Name, err)
	}
}

func TestImageThatIsNotThere(t *testing.T) {
	e := open(t)
	req := request()
	req.Config.Image = "nowhere"
	if _, err := e.ContainerCreate(t.Context(), "boat", req); !errdefs.IsNotFound(err) || err.Error() != "No such image: nowhere:latest" {
		t.Errorf("%v", err)
	}
	if len(e.all()) > 0 || len(e.names) > 0 {
		t.Errorf("left: %v %v", e.all(), e.names)
	}
}

// Two containers share the image's layers on disk; what one writes is its own.
func TestLayersAreShared(t *testing.T) {
	e := open(t)
	writer, _, _, code := runToEnd(t, e, request("write", "/shared", "by a container"))
	if code != 0 {
		t.Fatalf("write: exit code %d", code)
	}
	if _, out, _, _ := runToEnd(t, e, request("read", "/shared")); out != "from the image" {
		t.Errorf("another container reads %q", out)
	}
	if b, err := os.ReadFile(filepath.Join(e.opt.Root, "containers", writer, "upper", "shared")); err != nil || string(b) != "by a container" {
		t.Errorf("its layer has %q, %v", b, err)
	}
	img, err := e.images.Get("guest")
	if err != nil {
		t.Fatal(err)
	}
	layers, err := os.ReadDir(filepath.Join(e.opt.Root, "layers"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, l := range layers {
		if l.Name() == img.DiffIDs[0].Encoded() {
			n++
		}
	}
	if n != 1 || len(img.DiffIDs) != 1 {
		t.Errorf("layers on disk: %v", layers)
	}
}

// The layers of a container stay when its image is removed by force.
func TestImageInUse(t *testing.T) {
	e := open(t)
	id := create(t, e, "", request("print", "still", "here"))
	if _, err := e.ImageRemove(t.Context(), "guest", false); !errdefs.IsConflict(err) || !strings.Contains(err.Error(), "(must force) - container "+id[:12]+" is using its referenced image") {
		t.Errorf("remove: %v", err)
	}
	removed, err := e.ImageRemove(t.Context(), "guest", true)
	if err != nil || len(removed) < 2 || removed[0].Untagged != "guest:latest" {
		t.Fatalf("remove by force: %+v, %v", removed, err)
	}
	start(t, e, id)
	wait(t, e, id, "")
	if out, _ := logs(t, e, id, LogOptions{Stdout: true, Tail: -1}); out != "still\n" {
		t.Errorf("it says %q", out)
	}
	list, err := e.ContainerList(t.Context(), true, 0, nil)
	if err != nil || len(list) != 1 || !strings.HasPrefix(list[0].Image, "sha256:") {
		t.Errorf("%+v, %v", list, err)
	}
}

// A built-in image is installed once; removed, it stays away.
func TestBuiltinImageIsInstalledOnce(t *testing.T) {
	opt := options(t)
	e, err := Open(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	list, err := e.ImageList(t.Context(), ImageListOptions{})
	if err != nil || len(list) != 1 || list[0].RepoTags[0] != "guest:latest" {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := e.ImageRemove(t.Context(), "guest", false); err != nil {
		t.Error(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = openWith(t, opt)
	if _, err := e.images.Get("guest"); !errdefs.IsNotFound(err) {
		t.Errorf("after the second start: %v", err)
	}
}

func TestSecondEngineInTheSameDirectories(t *testing.T) {
	e := open(t)
	if _, err := Open(t.Context(), e.opt); !errdefs.IsUnavailable(err) {
		t.Errorf("%v", err)
	}
}

func TestOutOfMemory(t *testing.T) {
	e := open(t)
	req := request("eat")
	req.HostConfig.Memory = 16 << 20
	id, _, _, code := runToEnd(t, e, req)
	if s := stateOf(t, e, id); code != 137 || !s.OOMKilled {
		t.Errorf("exit code %d, state %+v", code, s)
	}
}

func TestBinds(t *testing.T) {
	e := open(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("from the host"), 0o644); err != nil {
		t.Fatal(err)
	}
	req := request("read", "/mnt/file")
	req.HostConfig.Binds = []string{dir + ":/mnt:ro", filepath.Join(dir, "made") + ":/made"}
	if _, out, _, _ := runToEnd(t, e, req); out != "from the host" {
		t.Errorf("it reads %q", out)
	}
	if info, err := os.Stat(filepath.Join(dir, "made")); err != nil || !info.IsDir() {
		t.Errorf("a missing source: %v", err)
	}
	req.Config.Cmd = []string{"write", "/mnt/file", "by the container"}
	if _, _, stderr, code := runToEnd(t, e, req); code != 1 || !strings.Contains(stderr, "read-only file system") {
		t.Errorf("write to a read-only bind: %d, %q", code, stderr)
	}
	for bind, words := range map[string]string{
		"data:/mnt":      "named volumes are not supported",
		"/a:/b:sideways": "invalid mode: sideways",
		"/a":             "invalid volume specification: '/a'",
		"/a:b":           "mount path must be absolute",
		"/a:/":           "destination can't be '/'",
	} {
		req.HostConfig.Binds = []string{bind}
		if _, err := e.ContainerCreate(t.Context(), "", req); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), words) {
			t.Errorf("bind %s: %v", bind, err)
		}
	}
}

func TestReadonlyRoot(t *testing.T) {
	e := open(t)
	req := request("write", "/file", "text")
	req.HostConfig.ReadonlyRootfs = true
	if _, _, stderr, code := runToEnd(t, e, req); code != 1 || !strings.Contains(stderr, "read-only file system") {
		t.Errorf("%d, %q", code, stderr)
	}
}
