package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"drydock.example/01-chroot/explain"
)

// doctor has drydockd ask the questions, in a process of its own that serves
// nothing. The checks try what the chapters do, with the chapters' code, and
// drydockd holds all of it anyway. In the client it would make every command
// larger and slower to start, and on macOS and Windows it could not be.
func (c *cli) doctor(ctx context.Context) error {
	path, err := findDaemon()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, path, "--doctor")
	cmd.Stdout, cmd.Stderr = c.out, c.err
	cmd.Env = os.Environ()
	if c.explain {
		ctx = explain.With(ctx, explain.Text(c.err))
	}
	chapter.Call(ctx, "who knows all chapters asks their questions", "execve(%q, %q)", path, cmd.Args)
	pipe, narration, err := explain.Pipe(ctx)
	if err != nil {
		return err
	}
	if pipe != nil {
		cmd.ExtraFiles = []*os.File{pipe}
		cmd.Env = append(cmd.Env, explain.Env(3))
	}
	err = cmd.Run()
	if pipe != nil {
		pipe.Close()
	}
	narration.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Exited() {
		return &exitError{status: exit.ExitCode()}
	}
	if err != nil {
		return fmt.Errorf("%s --doctor: %w", path, err)
	}
	return nil
}
