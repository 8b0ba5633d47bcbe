//go:build linux

package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	chroot "drydock.example/01-chroot"
	"drydock.example/01-chroot/hosttest"
)

// The test binary is the program as well: under this name it runs main.
const program = "image"

func TestMain(m *testing.M) {
	if os.Args[0] == program {
		main()
	}
	os.Setenv("DOCKER_CONFIG", "/nonexistent")
	os.Exit(hosttest.Run(m))
}

// shell is a store, and a place for the files of a test.
type shell struct {
	t    *testing.T
	dir  string
	root string // of the store
	env  []string
}

func newShell(t *testing.T) *shell {
	t.Helper()
	hosttest.Require(t, hosttest.Root, hosttest.Overlay)
	dir, err := os.MkdirTemp("", "interchange") // not t.TempDir: buildah wants paths in lower case
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return &shell{t: t, dir: dir, root: filepath.Join(dir, "store")}
}

// image runs our program and returns what it printed.
func (s *shell) image(args ...string) string {
	s.t.Helper()
	return s.output(&exec.Cmd{Path: "/proc/self/exe", Args: append([]string{program, "--root", s.root}, args...)})
}

// run runs another program.
func (s *shell) run(args ...string) string {
	s.t.Helper()
	return s.output(exec.Command(args[0], args[1:]...))
}

func (s *shell) output(cmd *exec.Cmd) string {
	s.t.Helper()
	cmd.Env = append(os.Environ(), s.env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("%q: %v\n%s%s", cmd.Args, err, out, stderr.String())
	}
	return string(out)
}

// path returns a place of the test's.
func (s *shell) path(name string) string { return filepath.Join(s.dir, name) }

// write writes a file and the directories that lead to it.
func (s *shell) write(name, content string) {
	s.t.Helper()
	if err := os.MkdirAll(filepath.Dir(s.path(name)), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(s.path(name), []byte(content), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// wantRun fails unless the image, run by us, prints the text.
func (s *shell) wantRun(image, text string) {
	s.t.Helper()
	if out := s.image("run", image); out != text {
		s.t.Errorf("%s says %q, want %q", image, out, text)
	}
}

// ours makes the image that everybody gets: two layers, and a program that
// says whose file is on top.
func (s *shell) ours() {
	s.t.Helper()
	if err := chroot.Build(context.Background(), s.path("base"), "/bin/cat"); err != nil {
		s.t.Fatal(err)
	}
	s.write("base/etc/passwd", "root:x:0:0:root:/:/bin/sh\n")
	s.write("top/motd", "by us\n")
	s.image("create", "--cmd", "/bin/cat /motd", "demo:1", s.path("base"), s.path("top"))
	s.wantRun("demo:1", "by us\n")
}

// Images that others make run here, and ours run there.
func TestInterchangeWithUmoci(t *testing.T) {
	hosttest.Require(t, hosttest.Program("umoci"))
	s := newShell(t)
	s.ours()
	s.image("save", "--layout", s.path("layout"), "demo:1")
	s.run("umoci", "unpack", "--image", s.path("layout")+":1", s.path("bundle"))
	if out := s.run("chroot", s.path("bundle/rootfs"), "/bin/cat", "/motd"); out != "by us\n" {
		t.Errorf("as umoci unpacked it, our image says %q", out)
	}
	s.write("bundle/rootfs/motd", "by umoci\n")
	s.run("umoci", "repack", "--image", s.path("layout")+":2", s.path("bundle"))
	if out := s.image("load", s.path("layout")); !strings.Contains(out, "Loaded image: demo:1\n") || !strings.Contains(out, "Loaded image: demo:2\n") {
		t.Errorf("load says %q", out)
	}
	s.wantRun("demo:2", "by umoci\n")
	s.wantRun("demo:1", "by us\n")
	// The layers below umoci's are ours, and here once.
	if out := s.image("tree"); strings.Count(out, "├─")+strings.Count(out, "└─") != 2 {
		t.Errorf("the tree is\n%s", out)
	}
}

func TestInterchangeWithSkopeo(t *testing.T) {
	hosttest.Require(t, hosttest.Program("skopeo"))
	s := newShell(t)
	s.ours()
	s.image("save", "--layout", s.path("layout"), "demo:1")
	for _, way := range []string{"oci:" + s.path("copy") + ":2", "oci-archive:" + s.path("oci.tar") + ":there/demo:3", "docker-archive:" + s.path("docker.tar") + ":there/demo:4"} {
		s.run("skopeo", "--insecure-policy", "copy", "oci:"+s.path("layout")+":1", way)
	}
	s.root = s.path("other")
	s.image("load", "--repository", "there/demo", s.path("copy"))
	s.image("load", s.path("oci.tar"))
	s.image("load", s.path("docker.tar"))
	for _, tag := range []string{"2", "3", "4"} {
		s.wantRun("there/demo:"+tag, "by us\n")
	}
}

func TestInterchangeWithBuildah(t *testing.T) {
	hosttest.Require(t, hosttest.Program("buildah"))
	s := newShell(t)
	s.ours()
	s.image("save", "--layout", s.path("layout"), "demo:1")
	run, err := os.MkdirTemp("/run", "buildah") // it wants a short path
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(run)
	s.write("policy.json", `{"default":[{"type":"insecureAcceptAnything"}]}`)
	s.env = []string{"DOCKER_CONFIG=", "BUILDAH_ISOLATION=chroot"}
	buildah := func(args ...string) string {
		t.Helper()
		return s.run(append([]string{"buildah", "--root", s.path("buildah"), "--runroot", run, "--storage-driver", "vfs"}, args...)...)
	}
	container := strings.TrimSpace(buildah("from", "--signature-policy", s.path("policy.json"), "oci:"+s.path("layout")+":1"))
	if out := buildah("run", container, "/bin/cat", "/motd"); out != "by us\n" {
		t.Errorf("buildah runs our image, which says %q", out)
	}
	s.write("motd", "by buildah\n")
	buildah("copy", container, s.path("motd"), "/motd")
	for i, format := range []string{"oci", "docker"} {
		to := "oci:" + s.path("layout") + ":buildah"
		if format == "docker" {
			to = "docker-archive:" + s.path("buildah.tar") + ":buildah:docker"
		}
		buildah("commit", "--signature-policy", s.path("policy.json"), "--format", format, container, to)
		if i == 0 {
			s.image("load", "--repository", "buildah", s.path("layout"))
			s.wantRun("buildah:buildah", "by buildah\n")
		} else {
			s.image("load", s.path("buildah.tar"))
			s.wantRun("buildah:docker", "by buildah\n")
		}
	}
	buildah("rm", "-a")
}

func TestInterchangeWithPodman(t *testing.T) {
	hosttest.Require(t, hosttest.Program("podman"), hosttest.Program("conmon"), hosttest.Program("runc"))
	s := newShell(t)
	s.ours()
	s.image("save", "-o", s.path("ours.tar"), "demo:1")
	run, err := os.MkdirTemp("/run", "podman") // it wants a short path
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(run)
	s.write("containers.conf", "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\nlog_driver = \"k8s-file\"\n[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n")
	s.write("policy.json", `{"default":[{"type":"insecureAcceptAnything"}]}`)
	s.env = []string{"DOCKER_CONFIG=", "CONTAINERS_CONF=" + s.path("containers.conf")}
	podman := func(args ...string) string {
		t.Helper()
		return s.run(append([]string{"podman", "--root", s.path("podman"), "--runroot", run, "--tmpdir", run + "/tmp", "--storage-driver", "vfs"}, args...)...)
	}
	podman("load", "--signature-policy", s.path("policy.json"), "-i", s.path("ours.tar"))
	parent := hosttest.Cgroup() + "/podman"
	defer removeCgroups(parent+"/conmon", parent, "/libpod_parent/conmon", "/libpod_parent")
	defer func() { _ = unix.Unmount(s.path("podman/vfs"), unix.MNT_DETACH) }() // not each version leaves it
	if out := podman("--runtime", "runc", "run", "--rm", "--network", "none", "--cgroup-parent", parent, "demo:1"); out != "by us\n" {
		t.Errorf("podman runs our image, which says %q", out)
	}
	s.write("Containerfile", "FROM demo:1\nCOPY motd /motd\n")
	s.write("motd", "by podman\n")
	podman("build", "--signature-policy", s.path("policy.json"), "--isolation", "chroot", "-t", "localhost/podman:1", s.dir)
	for _, format := range []string{"oci-archive", "docker-archive"} {
		podman("save", "--format", format, "-o", s.path(format+".tar"), "localhost/podman:1")
		s.root = s.path(format)
		s.image("load", s.path(format+".tar"))
		s.wantRun("localhost/podman:1", "by podman\n")
	}
}

func TestInterchangeWithDocker(t *testing.T) {
	s := newShell(t)
	docker := dockerd(s)
	s.ours()
	s.image("save", "-o", s.path("ours.tar"), "demo:1")
	if out := docker("load", "-i", s.path("ours.tar")); !strings.Contains(out, "Loaded image: demo:1") {
		t.Errorf("docker load says %q", out)
	}
	if out := docker("run", "--rm", "--network", "none", "demo:1"); out != "by us\n" {
		t.Errorf("docker runs our image, which says %q", out)
	}
	s.write("build/Dockerfile", "FROM demo:1\nCOPY motd /motd\n")
	s.write("build/motd", "by docker\n")
	docker("build", "-q", "-t", "docker:1", s.path("build"))
	docker("save", "-o", s.path("docker.tar"), "docker:1", "demo:1")
	s.root = s.path("other")
	s.image("load", s.path("docker.tar"))
	s.wantRun("docker:1", "by docker\n")
	s.wantRun("demo:1", "by us\n")
}

// dockerd starts Docker's daemon with everything of its own, and returns its
// client.
func dockerd(s *shell) func(args ...string) string {
	s.t.Helper()
	hosttest.Require(s.t, hosttest.Program("docker"), hosttest.Program("dockerd"))
	run, err := os.MkdirTemp("/run", "dockerd") // it wants a short path
	if err != nil {
		s.t.Fatal(err)
	}
	socket := "unix://" + run + "/s"
	var log bytes.Buffer
	daemon := exec.Command("dockerd", "--data-root", s.path("dockerd"), "--exec-root", run+"/exec", "-p", run+"/pid", "-H", socket,
		"--cgroup-parent", hosttest.Cgroup()+"/docker", "--bridge", "none", "--iptables=false", "--ip6tables=false", "--storage-driver", "vfs")
	daemon.Stdout, daemon.Stderr = &log, &log
	if err := daemon.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = daemon.Process.Signal(unix.SIGTERM)
		_ = daemon.Wait() // it was told to end
		for _, mount := range []string{run + "/exec/netns/default", s.path("dockerd")} {
			_ = unix.Unmount(mount, unix.MNT_DETACH) // not each version leaves each of them
		}
		os.RemoveAll(run)
		removeCgroups(hosttest.Cgroup()+"/docker", "/docker")
		if s.t.Failed() {
			s.t.Log(log.String())
		}
	})
	s.env = []string{"DOCKER_BUILDKIT=0"}
	client := []string{"docker", "-H", socket}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) { // it tells nobody when it listens
		if exec.Command(client[0], append(client[1:], "version")...).Run() == nil {
			return func(args ...string) string {
				s.t.Helper()
				return s.run(append(client, args...)...)
			}
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("dockerd does not answer:\n%s", log.String())
		}
	}
}

// removeCgroups removes cgroups that an engine has left, in all hierarchies.
func removeCgroups(paths ...string) {
	for _, path := range paths {
		for _, pattern := range []string{"/sys/fs/cgroup" + path, "/sys/fs/cgroup/*" + path} {
			dirs, _ := filepath.Glob(pattern) // the pattern is well formed
			for _, dir := range dirs {
				_ = unix.Rmdir(dir) // what is still there is named by hosttest
			}
		}
	}
}
