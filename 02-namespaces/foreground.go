//go:build linux

package namespaces

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// forwarded are the signals that people and supervisors send.
var forwarded = []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2}

// Foreground starts the process and waits for its end, as a shell does with a
// command: the signals that this process gets are passed on. It returns the
// status for the shell, the program's own or 128 and the signal that killed
// it; where the program did not start, that of [ExitStatus] and the reason.
func (p *Process) Foreground(ctx context.Context) (int, error) {
	defer forward(caught(), p.Signal)()
	if err := p.Start(ctx); err != nil {
		_, _ = p.Wait()
		return ExitStatus(err), err
	}
	state, err := p.Wait()
	if err != nil {
		return ExitStatus(err), err
	}
	return shellStatus(state), nil
}

// caught has this process keep the signals that it gets, for [forward].
func caught() chan os.Signal {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, forwarded...)
	return signals
}

// forward passes caught signals on to another process, until stop.
func forward(signals chan os.Signal, to func(os.Signal) error) (stop func()) {
	passed := make(chan struct{})
	go func() {
		defer close(passed)
		for s := range signals {
			_ = to(s) // it may have ended meanwhile
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
		<-passed
	}
}

// shellStatus is how a shell tells of a process's end in one number.
func shellStatus(state *os.ProcessState) int {
	if ws := state.Sys().(syscall.WaitStatus); ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return state.ExitCode()
}
