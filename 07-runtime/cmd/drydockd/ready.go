//go:build linux

package main

import (
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// readyFD names the environment variable with the number of the descriptor on
// which a starter waits.
const readyFD = "DRYDOCK_READY_FD"

// starterPipe tells the program that started the daemon how that went. A nil
// *starterPipe is a daemon that nobody waits for.
type starterPipe struct{ w *os.File }

// starter returns the pipe named in the environment, nil when there is none,
// and forgets the variable, so that no child believes to be a daemon's.
func starter() *starterPipe {
	fd, err := strconv.Atoi(os.Getenv(readyFD))
	if err != nil {
		return nil
	}
	os.Unsetenv(readyFD)
	unix.CloseOnExec(fd)
	return &starterPipe{w: os.NewFile(uintptr(fd), "ready")}
}

// served says that the socket answers.
func (p *starterPipe) served() { p.say("ready") }

// failed says why it will not.
func (p *starterPipe) failed(err error) { p.say(err.Error()) }

// say writes the one line of the protocol. A starter that is gone does not
// matter to the daemon.
func (p *starterPipe) say(line string) {
	if p == nil {
		return
	}
	_, _ = io.WriteString(p.w, line+"\n")
	_ = p.w.Close()
}
