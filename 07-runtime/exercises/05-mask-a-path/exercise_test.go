//go:build linux && (exercise || solution)

package maskapath

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"drydock.example/01-chroot/hosttest"
	"drydock.example/07-runtime/bundletest"
)

func TestMain(m *testing.M) { os.Exit(hosttest.Run(m)) }

func TestMask(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	dir := t.TempDir()
	rootfs := filepath.Join(dir, "rootfs")
	bundletest.Rootfs(t, rootfs)
	// The same path, here and there; and a link that leads to it.
	name := filepath.Base(dir) + "-secret"
	host := filepath.Join(t.TempDir(), name)
	inside := filepath.Join(rootfs, host)
	if err := os.MkdirAll(filepath.Dir(inside), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{host, inside} {
		if err := os.WriteFile(path, []byte("secret"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(host, filepath.Join(rootfs, "etc/link")); err != nil {
		t.Fatal(err)
	}
	id := fmt.Sprintf("exercise-mask-%d", os.Getpid())
	bundletest.Write(t, dir, bundletest.Spec(hosttest.Cgroup()+"/"+id, "sleep"))
	runtime := func(args ...string) string {
		t.Helper()
		c := exec.Command(bundletest.Build(t, "cmd/drydock-runtime"), append([]string{"--root", dir + "/state"}, args...)...)
		c.Dir = dir
		log, err := os.Create(filepath.Join(dir, "log"))
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		c.Stdout, c.Stderr = log, log // a file: the container holds it for as long as it lives
		err = c.Run()
		text, _ := os.ReadFile(log.Name())
		if err != nil {
			t.Fatalf("%v: %s", args, text)
		}
		return string(text)
	}
	defer runtime("delete", "--force", id)
	pidFile := filepath.Join(dir, "pid")
	runtime("run", "--detach", "--pid-file", pidFile, id)
	text, _ := os.ReadFile(pidFile)
	pid, err := strconv.Atoi(string(text))
	if err != nil {
		t.Fatal(err)
	}
	namespace, _ := os.Readlink("/proc/thread-self/ns/mnt")

	// By the link, which leads to one file inside and to another one outside.
	if err := Mask(pid, "/etc/link"); err != nil {
		t.Fatalf("Mask: %v", err)
	}
	if got := runtime("exec", id, bundletest.Program, "read-file", host); got != "" {
		t.Errorf("the file still says %q inside: in which mount namespace was the mount made?", got)
	}
	if got := runtime("exec", id, bundletest.Program, "write-file", host, "new"); got != "" {
		t.Error(got)
	}
	if got, err := os.ReadFile(inside); err != nil || string(got) != "secret" {
		t.Errorf("the file below the mask says %q now (%v): a mask covers, and changes nothing", got, err)
	}
	if got, err := os.ReadFile(host); err != nil || string(got) != "secret" {
		t.Errorf("the host's %s says %q (%v): the link was followed outside", host, got, err)
	}
	mounts, err := os.ReadFile("/proc/thread-self/mountinfo") // the first thread may be the one that went there
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), name) {
		t.Error("the mount is the host's: in which mount namespace was it made?")
	}
	// A thread that came back from the container would serve any goroutine.
	for range 100 {
		if now, _ := os.Readlink("/proc/thread-self/ns/mnt"); now != namespace {
			t.Fatalf("this test is in %s now: a thread came back from the container", now)
		}
	}
}
