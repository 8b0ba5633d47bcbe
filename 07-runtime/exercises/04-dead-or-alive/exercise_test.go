//go:build linux && (exercise || solution)

package deadoralive

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/hosttest"
	"drydock.example/07-runtime/bundletest"
)

func TestMain(m *testing.M) { os.Exit(hosttest.Run(m)) }

func TestStatus(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	// The orphans come to this process, which does not wait for them before the
	// end: so they are zombies when they have ended, as they may be anywhere.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	bundletest.Rootfs(t, filepath.Join(dir, "rootfs"))
	id := fmt.Sprintf("exercise-status-%d", os.Getpid())
	bundletest.Write(t, dir, bundletest.Spec(hosttest.Cgroup()+"/"+id, "sleep"))
	runtime := func(args ...string) {
		t.Helper()
		c := exec.Command(bundletest.Build(t, "cmd/drydock-runtime"), append([]string{"--root", dir + "/state"}, args...)...)
		c.Dir = dir
		log, err := os.Create(filepath.Join(dir, "log"))
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		c.Stdout, c.Stderr = log, log // a file: the container holds it for as long as it lives
		if err := c.Run(); err != nil {
			text, _ := os.ReadFile(log.Name())
			t.Fatalf("%v: %s", args, text)
		}
	}
	defer runtime("delete", "--force", id)
	where := filepath.Join(dir, "state", id)
	check := func(when string, want specs.ContainerState, cause string) {
		t.Helper()
		if got, err := Status(where); err != nil {
			t.Errorf("%s: %v", when, err)
		} else if got != want {
			t.Errorf("%s: %q, want %q: %s", when, got, want, cause)
		}
	}

	runtime("create", id)
	check("after create", specs.StateCreated, "its process lives and waits: what is there only while it waits?")
	runtime("start", id)
	check("after start", specs.StateRunning, "its process lives, and nobody can start it any more")

	file := filepath.Join(where, "state.json")
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var state map[string]any
	if err := json.Unmarshal(before, &state); err != nil {
		t.Fatal(err)
	}
	pid := int(state["pid"].(float64))

	// The id of a process that has ended belongs to another one: this test.
	state["pid"] = os.Getpid()
	reused, err := json.Marshal(state)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, reused, 0o600); err != nil {
		t.Fatal(err)
	}
	check("when its process id is another process's", specs.StateStopped, "there is a process with that id: is it the one that was started then?")
	if err := os.WriteFile(file, before, 0o600); err != nil {
		t.Fatal(err)
	}

	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	check("after kill, before anybody waits for it", specs.StateStopped, "a zombie has a place in /proc and runs no more")
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, 0, nil); err != nil {
		t.Fatal(err)
	}
	check("after kill", specs.StateStopped, "no process is no error: it is the answer")
}
