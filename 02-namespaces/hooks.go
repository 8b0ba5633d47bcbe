//go:build linux

package namespaces

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// RunHooks runs hooks one after the other, each with the state on its standard
// input, and stops at the first that fails (runtime-spec, config.md#posix-platform-hooks).
func RunHooks(ctx context.Context, name string, hooks []specs.Hook, state specs.State) error {
	if len(hooks) == 0 {
		return nil
	}
	input, err := json.Marshal(state)
	if err != nil {
		return err
	}
	for i, h := range hooks {
		if err := runHook(ctx, h, input); err != nil {
			return fmt.Errorf("error running hooks.%s[%d]: %s: %w", name, i, h.Path, err)
		}
	}
	return nil
}

func runHook(ctx context.Context, h specs.Hook, input []byte) error {
	if h.Timeout != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, time.Duration(*h.Timeout)*time.Second, fmt.Errorf("ended after its timeout of %d s", *h.Timeout))
		defer cancel()
	}
	var output bytes.Buffer
	cmd := exec.CommandContext(ctx, h.Path)
	if len(h.Args) > 0 {
		cmd.Args = h.Args
	}
	// Not nil: that would be the environment of this process.
	cmd.Env = append([]string{}, h.Env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &output, &output
	cmd.WaitDelay = time.Second
	chapter.Call(ctx, "a hook of the container's config", "execve(%q, %q)", h.Path, cmd.Args)
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("%w (it printed: %q)", err, output.String())
	}
	return nil
}

// createHooks has Create run its hooks outside, then runs createContainer in here.
func createHooks(p *initProcess) error {
	if p.Prestart {
		if err := p.out.Encode(message{Prestart: true}); err != nil {
			return err
		}
		if _, err := p.hear(); err != nil {
			return err
		}
	}
	if p.Hooks == nil || p.State == nil {
		return nil
	}
	if len(p.Hooks.CreateContainer) > 0 {
		// Where they look for the root that is not / yet, as in every runtime.
		if err := unix.Fchdir(p.root); err != nil {
			return os.NewSyscallError("fchdir", err)
		}
	}
	return RunHooks(p.ctx, "createContainer", p.Hooks.CreateContainer, p.state(specs.StateCreating))
}

// startHooks runs startContainer, after start and before the program.
func startHooks(p *initProcess) error {
	if p.Hooks == nil || p.State == nil || len(p.Hooks.StartContainer) == 0 {
		return nil
	}
	// What is executed is a file of the container, so it is filtered as its
	// program is.
	if err := filterLate(p); err != nil {
		return err
	}
	p.Seccomp = nil
	return RunHooks(p.ctx, "startContainer", p.Hooks.StartContainer, p.state(specs.StateCreated))
}

func (p *initProcess) state(status specs.ContainerState) specs.State {
	s := *p.State
	s.Pid, s.Status = os.Getpid(), status
	return s
}
