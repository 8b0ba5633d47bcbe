//go:build linux

package supervisor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"drydock.example/01-chroot/explain"
)

const (
	pidFile       = "init.pid"
	consoleSocket = "console.sock"
)

// runtimeCreate has the runtime make the container, whose first process then
// waits to be started.
func (s *supervisor) runtimeCreate(ctx context.Context) (<-chan syscall.WaitStatus, int, error) {
	pid, ended, err := s.process(ctx, "the OCI runtime makes the container, whose first process outlives it and becomes the shim's child",
		s.streams, pidFile, "create", "--bundle", s.dir)
	if err != nil && pid != 0 {
		s.complain(s.runtime(ctx, "undo create", nil, "delete", "--force", s.conf.ID))
	}
	return ended, pid, err
}

// process has the runtime make a process that is the shim's child when the
// command has ended, and copies its output from then on. When that fails, the
// process is killed; its number is told with the error.
func (s *supervisor) process(ctx context.Context, why string, streams *streams, pidFile string, command ...string) (int, <-chan syscall.WaitStatus, error) {
	stdio, console, err := streams.open()
	if err != nil {
		return 0, nil, err
	}
	command = append(command, "--pid-file", filepath.Join(s.dir, pidFile))
	if console != nil {
		command = append(command, "--console-socket", streams.console)
		defer console.Close()
	}
	pid, ended, err := s.children.adopt(func() (int, error) {
		err := s.runtime(ctx, why, stdio, append(command, s.conf.ID)...)
		for _, f := range stdio {
			// The process has them now; a copy here would keep the output from ending.
			f.Close()
		}
		if err != nil {
			return 0, err
		}
		b, err := os.ReadFile(pidFile)
		if err != nil {
			return 0, err
		}
		pid, err := strconv.Atoi(string(bytes.TrimSpace(b)))
		if err != nil {
			return 0, fmt.Errorf("%s holds %q, not a process id", pidFile, b)
		}
		return pid, nil
	})
	if err != nil {
		return 0, nil, err
	}
	if err := streams.begin(console); err != nil {
		s.children.kill(pid)
		<-ended
		return pid, nil, err
	}
	return pid, ended, nil
}

// runtime runs one of the runtime's commands and returns the error that it
// reports. Stdio nil is /dev/null.
func (s *supervisor) runtime(ctx context.Context, why string, stdio []*os.File, command ...string) error {
	// A log for each invocation: several may be at work.
	log, err := os.CreateTemp(s.dir, "runtime-log-")
	if err != nil {
		return err
	}
	defer os.Remove(log.Name())
	defer log.Close()
	args := append([]string{filepath.Base(s.conf.Runtime), "--root", s.conf.RuntimeRoot, "--log", log.Name(), "--log-format", "json"}, command...)
	files, env := stdio, os.Environ()
	var said *os.File
	if stdio == nil {
		null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer null.Close()
		if said, err = os.CreateTemp(".", "runtime-stderr-"); err != nil {
			return err
		}
		os.Remove(said.Name())
		defer said.Close()
		files = []*os.File{null, null, said}
	}
	narration, _, err := explain.Pipe(ctx)
	if err != nil {
		return err
	}
	if narration != nil {
		defer narration.Close()
		env = append(env, explain.Env(3))
		files = append(files[:3:3], narration)
	}
	chapter.Call(ctx, why, "execve(%q, [%s])", s.conf.Runtime, quoted(args))
	ended, err := s.children.start(s.conf.Runtime, args, &os.ProcAttr{Env: env, Files: files})
	if err != nil {
		return fmt.Errorf("the OCI runtime: %w", err)
	}
	how := <-ended
	if how.ExitStatus() == 0 {
		return nil
	}
	return errors.New(s.complaint(command[0], how, log, said))
}

// complaint finds the runtime's words for a failure: the last error in its
// log, else what it wrote on its standard error, else its exit status.
func (s *supervisor) complaint(command string, how syscall.WaitStatus, log, said *os.File) string {
	var text string
	b, _ := io.ReadAll(log)
	for _, line := range bytes.Split(b, []byte("\n")) {
		var entry struct{ Level, Msg string }
		if json.Unmarshal(line, &entry) == nil && entry.Msg != "" && (entry.Level == "error" || entry.Level == "fatal") {
			text = entry.Msg
		}
	}
	if text == "" && said != nil {
		said.Seek(0, io.SeekStart)
		b, _ := io.ReadAll(io.LimitReader(said, 16<<10))
		text = strings.TrimSpace(string(b))
	}
	if text == "" {
		text = fmt.Sprintf("it ended with status %d and said nothing", how.ExitStatus())
		if how.Signaled() {
			text = fmt.Sprintf("it was ended by signal %d", how.Signal())
		}
	}
	return fmt.Sprintf("%s %s: %s", filepath.Base(s.conf.Runtime), command, text)
}

func quoted(args []string) string {
	q := make([]string, len(args))
	for i, a := range args {
		q[i] = strconv.Quote(a)
	}
	return strings.Join(q, ", ")
}
