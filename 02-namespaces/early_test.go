//go:build linux

package namespaces

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/hosttest"
)

// Whoever kills the process while it prepares itself (the kernel, when a memory
// limit is too low for that) keeps it from saying why.
func TestAProcessThatIsKilledBeforeItIsReady(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	_, err := Create(t.Context(), NewSpec(newRoot(t), "/bin/probe"), Options{
		Prestart: func(pid int) error { return unix.Kill(pid, unix.SIGKILL) },
	})
	if err == nil || !strings.Contains(err.Error(), "ended before it was ready: signal: killed") {
		t.Errorf("got %v", err)
	}
}

func TestCreateEndsWithItsContext(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("nobody waits any more")
	spec := NewSpec(newRoot(t), "/bin/probe")
	hook := specs.Hook{Path: "/bin/sleep", Args: []string{"sleep", "60"}}
	spec.Hooks = &specs.Hooks{CreateContainer: []specs.Hook{hook}}
	began := time.Now()
	_, err := Create(ctx, spec, Options{
		State:    &specs.State{},
		Prestart: func(int) error { cancel(why); return nil },
	})
	if !errors.Is(err, why) || time.Since(began) > 30*time.Second {
		t.Errorf("got %v after %v", err, time.Since(began))
	}
}
