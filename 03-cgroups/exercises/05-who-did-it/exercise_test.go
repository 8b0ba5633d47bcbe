//go:build linux && (exercise || solution)

package whodidit

import (
	"context"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"drydock.example/01-chroot/hosttest"
	cgroups "drydock.example/03-cgroups"
	"github.com/opencontainers/runtime-spec/specs-go"
)

func TestMain(m *testing.M) { os.Exit(hosttest.Run(m)) }

func TestCause(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	for name, test := range map[string]struct{ command, want, hint string }{
		"its own end": {"exit 9", "exited", "a status of 9 is no signal 9: what does the wait status say about itself?"},
		"kill -9":     {"kill -9 $$", "killed", "nobody ran out of memory: which counter says so?"},
		"kill -15":    {"kill $$", "killed", "a signal is a signal"},
		"its memory":  {"exec tail /dev/zero", "out of memory", "the kernel counts whom it kills: is the file the one of this kernel's cgroup version?"},
	} {
		t.Run(name, func(t *testing.T) {
			limit := int64(32 << 20)
			cgroup, err := cgroups.Create(t.Context(), hosttest.Cgroup()+"/who", &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit, Swap: &limit}})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				cgroup.Kill(context.Background())
				cgroup.Delete(context.Background())
			}()
			dir, v1 := cgroup.Paths()["memory"]
			if !v1 {
				dir = cgroup.Paths()[""]
			}
			cmd := exec.Command("/bin/sh", "-c", test.command)
			if err := cgroup.StartCommand(t.Context(), cmd); err != nil {
				t.Fatal(err)
			}
			cmd.Wait()
			got, err := Cause(dir, cmd.ProcessState.Sys().(syscall.WaitStatus))
			if err != nil || got != test.want {
				t.Errorf("%q, %v; want %q: %s", got, err, test.want, test.hint)
			}
		})
	}
}
