//go:build linux && (exercise || solution)

package abundle

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"drydock.example/01-chroot/hosttest"
	"drydock.example/07-runtime/bundletest"
)

func TestMain(m *testing.M) { os.Exit(hosttest.Run(m)) }

func TestBundle(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	dir := t.TempDir()
	bundletest.Rootfs(t, filepath.Join(dir, "rootfs"))
	if err := Bundle(dir, "exercise", bundletest.Program, "sleep"); err != nil {
		t.Fatalf("Bundle: %v", err)
	}
	runtime := func(args ...string) (string, error) {
		c := exec.Command(bundletest.Build(t, "cmd/drydock-runtime"), append([]string{"--root", t.TempDir()}, args...)...)
		c.Dir = dir
		out, err := c.CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	root := filepath.Join(t.TempDir(), "state")
	pidFile := filepath.Join(t.TempDir(), "pid")
	id := fmt.Sprintf("exercise-bundle-%d", os.Getpid())
	defer runtime("--root", root, "delete", "--force", id)
	c := exec.Command(bundletest.Build(t, "cmd/drydock-runtime"), "--root", root, "run", "--detach", "--bundle", dir, "--pid-file", pidFile, id)
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	c.Stdout, c.Stderr = log, log // a file: the container holds it for as long as it lives
	if err := c.Run(); err != nil {
		text, _ := os.ReadFile(log.Name())
		t.Fatalf("the runtime does not take the bundle: %s", text)
	}
	pid, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"pid", "mnt", "uts"} {
		host, _ := os.Readlink("/proc/self/ns/" + kind)
		if inside, err := os.Readlink(fmt.Sprintf("/proc/%s/ns/%s", pid, kind)); err != nil || inside == host {
			t.Errorf("the container is in the host's %s namespace (%s, %v): is it listed in linux.namespaces?", kind, inside, err)
		}
	}
	if name, err := runtime("--root", root, "exec", id, bundletest.Program, "read-file", "/proc/sys/kernel/hostname"); err != nil {
		t.Errorf("/proc/sys/kernel/hostname inside: %s: is there a mount for /proc?", name)
	} else if name != "exercise" {
		t.Errorf("the host name inside is %q, want %q", name, "exercise")
	}
	if out, err := runtime("--root", root, "exec", id, bundletest.Program, "write-file", "/etc/new", "x"); err == nil {
		t.Error("a file was written to the root file system: what makes a root read-only?")
	} else if !strings.Contains(out, "read-only file system") {
		t.Errorf("a write to the root: %s", out)
	}
}
