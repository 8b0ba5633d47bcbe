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
	"drydock.example/07-runtime/shim"
)

const (
	pidFile       = "init.pid"
	consoleSocket = "console.sock"
)

// runtimeCreate has the runtime make the container, whose first process then
// waits to be started and is a child of the shim.
func (s *supervisor) runtimeCreate(ctx context.Context) (<-chan syscall.WaitStatus, int, error) {
	args := []string{"create", "--bundle", s.dir, "--pid-file", filepath.Join(s.dir, pidFile)}
	stdio, console, err := s.streams.open()
	if err != nil {
		return nil, 0, err
	}
	if console != nil {
		args = append(args, "--console-socket", consoleSocket)
		defer console.Close()
	}
	err = s.runtime(ctx, "the OCI runtime makes the container, whose first process outlives it and becomes the shim's child", stdio, append(args, s.conf.ID)...)
	for _, f := range stdio {
		// The container has them now; a copy here would keep the output from ending.
		f.Close()
	}
	if err != nil {
		return nil, 0, err
	}
	b, err := os.ReadFile(pidFile)
	if err != nil {
		return nil, 0, err
	}
	pid, err := strconv.Atoi(string(bytes.TrimSpace(b)))
	if err != nil {
		return nil, 0, fmt.Errorf("%s holds %q, not a process id", pidFile, b)
	}
	ended := s.children.adopt(pid)
	if err := s.streams.begin(console); err != nil {
		s.complain(s.runtime(ctx, "undo create", nil, "delete", "--force", s.conf.ID))
		<-ended
		return nil, 0, err
	}
	return ended, pid, nil
}

// runtime runs one of the runtime's commands and returns the error that it
// reports. Stdio nil is /dev/null.
func (s *supervisor) runtime(ctx context.Context, why string, stdio []*os.File, command ...string) error {
	os.Remove(shim.RuntimeLogFile)
	args := append([]string{filepath.Base(s.conf.Runtime), "--root", s.conf.RuntimeRoot,
		"--log", filepath.Join(s.dir, shim.RuntimeLogFile), "--log-format", "json"}, command...)
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
	return errors.New(s.complaint(command[0], how, said))
}

// complaint finds the runtime's words for a failure: the last error in its
// log, else what it wrote on its standard error, else its exit status.
func (s *supervisor) complaint(command string, how syscall.WaitStatus, said *os.File) string {
	var text string
	b, _ := os.ReadFile(shim.RuntimeLogFile)
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
