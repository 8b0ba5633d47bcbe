//go:build linux

package namespaces

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// forever is a hook that says that it runs, and does not end by itself.
func forever(t *testing.T) (hook specs.Hook, running string) {
	t.Helper()
	running = t.TempDir() + "/running"
	return specs.Hook{Path: "/bin/sh", Args: []string{"sh", "-c", ": > " + running + "; exec sleep 60"}, Env: []string{"PATH=/usr/bin:/bin"}}, running
}

func TestAHookEndsWithItsContext(t *testing.T) {
	t.Parallel()
	hook, running := forever(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("nobody waits any more")
	go func() {
		for {
			if _, err := os.Stat(running); err == nil {
				cancel(why)
				return
			}
			time.Sleep(time.Millisecond) // a hook tells nobody that it has begun
		}
	}()
	err := RunHooks(ctx, "poststop", []specs.Hook{hook}, specs.State{})
	if !errors.Is(err, why) || !strings.HasPrefix(err.Error(), "error running hooks.poststop[0]: /bin/sh: ") {
		t.Errorf("got %v", err)
	}
}

func TestAHookEndsAfterItsTimeout(t *testing.T) {
	t.Parallel()
	hook, _ := forever(t)
	hook.Timeout = new(int)
	*hook.Timeout = 1
	err := RunHooks(t.Context(), "poststop", []specs.Hook{hook}, specs.State{})
	if err == nil || err.Error() != "error running hooks.poststop[0]: /bin/sh: ended after its timeout of 1 s" {
		t.Errorf("got %v", err)
	}
}
