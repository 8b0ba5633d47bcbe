//go:build linux

package cli_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"drydock.example/01-chroot/hosttest"
)

var programsDir string

func TestMain(m *testing.M) {
	code := hosttest.Run(m)
	os.RemoveAll(programsDir)
	os.Exit(code)
}

// programs builds the four programs, the daemon with the built-in images in it,
// as `make build` does but into a directory of the tests' own.
var programs = sync.OnceValues(func() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "cli-test-programs-"); err != nil {
		return "", err
	}
	programsDir = dir
	build := func(args ...string) error {
		cmd := exec.Command("go", append([]string{"build"}, args...)...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%v: %w\n%s", cmd, err, out)
		}
		return nil
	}
	guests := filepath.Join(dir, "guests")
	if err := build("-o", guests+"/", "../builtin/cmd/..."); err != nil {
		return "", err
	}
	// The files that the daemon embeds are replaced for this build alone: the
	// source tree stays as it is.
	embedded, err := filepath.Abs("../builtin/bin")
	if err != nil {
		return "", err
	}
	replace := map[string]string{}
	for _, name := range []string{"hello", "box"} {
		replace[filepath.Join(embedded, name)] = filepath.Join(guests, name)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(path, overlay, 0o644); err != nil {
		return "", err
	}
	return dir, build("-overlay", path, "-o", dir+"/", "../cmd/...")
})

// daemon is a drydockd of one test's own.
type daemon struct {
	dir     string // holds root/ and state/
	host    string
	process *exec.Cmd
}

// start returns when the daemon in dir answers; it is told to leave at the end.
func start(dir string, flags ...string) (*daemon, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	state := filepath.Join(dir, "state")
	d := &daemon{dir: dir, host: "unix://" + state + "/drydock.sock"}
	if err := os.MkdirAll(state, 0o711); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(state, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	ready, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer ready.Close()
	flags = append(flags, "--root", filepath.Join(dir, "root"), "--state", state, "--cgroup-parent", hosttest.Cgroup())
	d.process = exec.Command(filepath.Join(bin, "drydockd"), flags...)
	d.process.Stderr = log
	d.process.ExtraFiles = []*os.File{w}
	d.process.Env = append(os.Environ(), "DRYDOCK_READY_FD=3")
	err = d.process.Start()
	w.Close()
	if err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(ready).ReadString('\n')
	if line != "ready\n" {
		d.process.Wait()
		return nil, fmt.Errorf("drydockd: %s%w", line, err)
	}
	return d, nil
}

// running is a daemon for one test, with a directory of its own.
func running(t *testing.T, flags ...string) *daemon {
	t.Helper()
	d, err := start(t.TempDir(), flags...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.stop(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// stop removes what the test has left in the engine, and lets the daemon leave.
func (d *daemon) stop() error {
	bin, err := programs()
	if err != nil {
		return err
	}
	drydock := filepath.Join(bin, "drydock")
	ids, err := exec.Command(drydock, "-H", d.host, "ps", "-aq").Output()
	if names := strings.Fields(string(ids)); len(names) > 0 {
		out, rerr := exec.Command(drydock, append([]string{"-H", d.host, "rm", "-f"}, names...)...).CombinedOutput()
		if rerr != nil {
			err = errors.Join(err, fmt.Errorf("rm -f: %w: %s", rerr, out))
		}
	}
	err = errors.Join(err, d.process.Process.Signal(syscall.SIGTERM), d.process.Wait())
	if err == nil {
		return nil
	}
	log, _ := os.ReadFile(filepath.Join(d.dir, "state", "log"))
	return fmt.Errorf("stop the daemon: %w\n%s", err, log)
}

// Each script in testdata is a lesson in one part of the client, and has an
// engine of its own.
func TestScripts(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.Overlay)
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", bin+":"+env.Getenv("PATH"))
			d, err := start(filepath.Join(env.WorkDir, ".engine"))
			if err != nil {
				return err
			}
			env.Setenv("DRYDOCK_HOST", d.host)
			env.Defer(func() {
				if err := d.stop(); err != nil {
					t.Error(err)
				}
			})
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits": exits,
		},
	})
}

// exits STATUS PROGRAM [ARG...] runs a program whose exit status is told apart
// from other failures.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS PROGRAM [ARG...]")
	}
	err := ts.Exec(args[1], args[2:]...)
	status := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		status = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if fmt.Sprint(status) != args[0] {
		ts.Fatalf("exit status %d, want %s", status, args[0])
	}
}
