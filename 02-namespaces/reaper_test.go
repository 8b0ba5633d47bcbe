//go:build linux

package namespaces

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

func TestTheReaperWaitsForOrphans(t *testing.T) {
	root := newRoot(t)
	for _, c := range []struct {
		reaper bool
		want   string
	}{{false, "zombie <nil>"}, {true, "reaped <nil>"}} {
		if out, _ := run(t, NewSpec(root, "probe", "orphan"), Options{Reaper: c.reaper, Init: static(t)}); strings.TrimSpace(out) != c.want {
			t.Errorf("reaper %v: an orphan is %q, want %q", c.reaper, out, c.want)
		}
	}
}

func TestTheReaperEndsAsTheProgramDoes(t *testing.T) {
	root := newRoot(t)
	if err := os.WriteFile(root+"/bin/garbage", []byte("no program\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args   string
		status int
		out    string
	}{
		{"probe exit 7", 7, ""},
		{"probe call 39", 0, "\n"},
		{"garbage", 126, ""},
	} {
		out, state := run(t, NewSpec(root, strings.Fields(c.args)...), Options{Reaper: true, Init: static(t)})
		if state.ExitCode() != c.status || out != c.out {
			t.Errorf("%s: %v, %q, want status %d, %q", c.args, state, out, c.status, c.out)
		}
	}
	_, err := Create(t.Context(), NewSpec(root, "nosuch"), Options{Reaper: true, Init: static(t)})
	if ExitStatus(err) != 127 {
		t.Errorf("no such program: %v", err)
	}
}

// Process 1 gets no signal that it has not asked for, and a shell does not ask.
func TestTheReaperPassesSignalsOn(t *testing.T) {
	root := newRoot(t)
	for _, c := range []struct {
		name, args string
		status     int
		out        string
	}{
		{"one that the program catches", "probe catch", 9, "waiting\nterminated\n"},
		{"one that ends it", "probe wait", 128 + 15, "waiting\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := exec.Command(isolateProgram(t), append([]string{"--init", root}, strings.Fields(c.args)...)...)
			stdin, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			defer stdin.Close()
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			r := bufio.NewReader(stdout)
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			rest, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if got := line + string(rest); got != c.out || cmd.ProcessState.ExitCode() != c.status {
				t.Errorf("%v, %q, want status %d, %q", cmd.ProcessState, got, c.status, c.out)
			}
		})
	}
}

// What the reaper holds open is the streams, and nothing of the host's.
func TestTheReaperHoldsNothingOpen(t *testing.T) {
	spec := NewSpec(newRoot(t), "probe", "read", "/proc/1/comm")
	if out, _ := run(t, spec, Options{Reaper: true, Init: static(t)}); !strings.HasPrefix(out, "exe") && !strings.HasPrefix(out, "drydock") {
		t.Errorf("process 1 is %q", out)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	spec.Process.Args = []string{"probe"}
	v := look(t, spec, Options{Reaper: true, Init: static(t), Files: []*os.File{w}})
	w.Close()
	if got := strings.Join(v.FDs, " "); got != "0 1 2 3" || v.Pid == 1 || v.Ppid != 1 {
		t.Errorf("descriptors %q, pid %d, ppid %d: want those that were handed over, and process 1 as parent", got, v.Pid, v.Ppid)
	}
	if _, err := io.ReadAll(r); err != nil {
		t.Error(err)
	}
}
