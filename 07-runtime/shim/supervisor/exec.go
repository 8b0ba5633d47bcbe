//go:build linux

package supervisor

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/errdefs"

	"drydock.example/07-runtime/shim"
)

// execDrainTime is how long output is waited for after a further process's end:
// what it left running in the background may hold its streams for hours.
const execDrainTime = 2 * time.Second

// A process is a further process of the container.
type process struct {
	streams *streams
	ended   chan struct{} // closed when it has ended, and its streams have
	exit    shim.Exit     // to be read after ended
}

// exec has the runtime execute a further process, makes the connection its
// stream, and stays until its end.
func (s *supervisor) exec(ctx context.Context, conn *question, in *bufio.Reader, q shim.Request) {
	conf := s.conf
	conf.Terminal, conf.Stdin, conf.Log = q.Terminal, q.Attach != nil && q.Attach.Stdin, ""
	p := &process{ended: make(chan struct{})}
	var err error
	if p.streams, err = newStreams(conf, "exec-"+q.Exec+".sock"); err != nil {
		reply(conn, shim.Fail(err))
		return
	}
	defer p.streams.close()
	var client *queue
	if q.Attach != nil {
		client = newQueue(conn.UnixConn, *q.Attach, conf)
		defer client.free()
		if err := p.streams.attach(client); err != nil {
			reply(conn, shim.Fail(err))
			return
		}
	}
	pid, ended, err := s.runtimeExec(ctx, q.Exec, p)
	conn.end()
	if err != nil {
		reply(conn, shim.Fail(err))
		return
	}
	go p.finish(ended)
	// Whoever asked may have gone. The process is there all the same, as one is
	// whose client goes a moment later.
	reply(conn, shim.Response{Status: &shim.Status{Pid: pid, Started: true}})
	if client == nil {
		conn.Close()
	} else {
		s.carry(client, p.streams, in)
	}
	<-p.ended
}

// runtimeExec has the runtime execute the process that stands in the exec file.
func (s *supervisor) runtimeExec(ctx context.Context, id string, p *process) (int, <-chan syscall.WaitStatus, error) {
	<-s.created
	if s.failed != nil {
		return 0, nil, s.failed
	}
	s.starting.RLock()
	defer s.starting.RUnlock()
	if err := s.running(); err != nil {
		return 0, nil, err
	}
	if id == "" || strings.Contains(id, "/") {
		return 0, nil, fmt.Errorf("the id of an exec %q: want a file's name: %w", id, errdefs.ErrInvalidArgument)
	}
	s.mu.Lock()
	if s.execs[id] != nil {
		s.mu.Unlock()
		return 0, nil, fmt.Errorf("exec %s is there already: %w", id, errdefs.ErrInvalidArgument)
	}
	s.execs[id] = p
	s.mu.Unlock()
	pidFile := "exec-" + id + ".pid"
	defer os.Remove(pidFile)
	pid, ended, err := s.process(ctx, "the OCI runtime executes one more program in there, which outlives it and becomes the shim's child",
		p.streams, pidFile, "exec", "--detach", "--process", filepath.Join(s.dir, shim.ExecFile(id)))
	if err != nil {
		s.forget(id)
	}
	return pid, ended, err
}

// finish waits for the process's end and for that of its output.
func (p *process) finish(ended <-chan syscall.WaitStatus) {
	p.exit = exitOf(<-ended)
	p.streams.drain(execDrainTime)
	p.streams.close()
	close(p.ended)
}

func (s *supervisor) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.execs, id)
}

// further returns the process that a request is about.
func (s *supervisor) further(id string) (*process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.execs[id]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("no exec %s: %w", id, errdefs.ErrNotFound)
}

// exitOf is how a process ended, as of now.
func exitOf(how syscall.WaitStatus) shim.Exit {
	exit := shim.Exit{Code: how.ExitStatus(), FinishedAt: time.Now().UTC()}
	if how.Signaled() {
		exit.Signal = int(how.Signal())
		exit.Code = 128 + exit.Signal
	}
	return exit
}
