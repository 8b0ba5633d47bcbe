//go:build linux && (exercise || solution)

package ahook

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"drydock.example/01-chroot/hosttest"
	"drydock.example/07-runtime/bundletest"
)

// noteVariable makes this test binary the hook: it names the file for the note.
const noteVariable = "EXERCISE_NOTE"

func TestMain(m *testing.M) {
	path := os.Getenv(noteVariable)
	if path == "" {
		os.Exit(hosttest.Run(m))
	}
	note, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err == nil {
		err = Hook(os.Stdin, note)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func TestHook(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	dir := t.TempDir()
	bundletest.Rootfs(t, filepath.Join(dir, "rootfs"))
	id := fmt.Sprintf("exercise-hook-%d", os.Getpid())
	runtime := func(args ...string) error {
		c := exec.Command(bundletest.Build(t, "cmd/drydock-runtime"), append([]string{"--root", dir + "/state"}, args...)...)
		c.Dir = dir
		log, err := os.Create(filepath.Join(dir, "log"))
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		c.Stdout, c.Stderr = log, log // a file: the container holds it for as long as it lives
		return c.Run()
	}
	said := func() string { text, _ := os.ReadFile(filepath.Join(dir, "log")); return string(text) }
	defer runtime("delete", "--force", id)

	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	note := filepath.Join(dir, "note")
	spec := bundletest.Spec(hosttest.Cgroup()+"/"+id, "sleep")
	Add(spec, specs.Hook{Path: self, Env: []string{noteVariable + "=" + note}})
	bundletest.Write(t, dir, spec)

	pidFile := filepath.Join(dir, "pid")
	if err := runtime("create", "--pid-file", pidFile, id); err != nil {
		t.Fatalf("create: %s\nIf the hook's file is not found: it was looked for inside the container, so it ran too late.", said())
	}
	pid, _ := os.ReadFile(pidFile)
	network, err := os.Readlink(fmt.Sprintf("/proc/%s/ns/net", pid))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(note)
	switch got := strings.TrimSpace(string(text)); {
	case err != nil:
		t.Error("the container is created and there is no note: did the hook run, and did it run before start?")
	case got != id+" "+network:
		t.Errorf("the note says %q, want %q: whose namespace is it?", got, id+" "+network)
	}
	if err := runtime("delete", id); err != nil {
		t.Error(said())
	}

	// What a hook of this kind is good for beyond notes: it can say no.
	spec.Hooks = nil
	Add(spec, specs.Hook{Path: "/bin/false"})
	bundletest.Write(t, dir, spec)
	if runtime("create", id) == nil {
		t.Error("the hook failed and the container was created: which of the lists fail the creation?")
	}
}
