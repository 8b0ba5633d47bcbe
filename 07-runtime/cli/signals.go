package cli

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// signals are this program's: at first they end the command, and once a
// container runs in the foreground they are the container's.
type signals struct {
	ch     chan os.Signal
	cancel context.CancelFunc

	mu      sync.Mutex
	forward func(os.Signal) // nil: end the command
	ended   os.Signal       // the signal that ended the command
}

// watchSignals returns a context that ends with SIGINT or SIGTERM.
func watchSignals(ctx context.Context) (context.Context, *signals) {
	ctx, cancel := context.WithCancel(ctx)
	s := &signals{ch: make(chan os.Signal, 128), cancel: cancel}
	signal.Notify(s.ch, os.Interrupt, syscall.SIGTERM)
	go func() {
		for sig := range s.ch {
			s.deliver(sig)
		}
	}()
	return ctx, s
}

func (s *signals) deliver(sig os.Signal) {
	s.mu.Lock()
	forward := s.forward
	if forward == nil && s.ended == nil {
		s.ended = sig
		s.cancel()
		// A second one ends a program that does not heed the context.
		signal.Reset(os.Interrupt, syscall.SIGTERM)
	}
	s.mu.Unlock()
	if forward != nil {
		forward(sig)
	}
}

// proxy hands every signal that can be caught to forward, until the function
// that it returns is called.
func (s *signals) proxy(forward func(os.Signal)) (stop func()) {
	s.mu.Lock()
	s.forward = forward
	s.mu.Unlock()
	signal.Notify(s.ch, proxied...)
	return func() {
		s.mu.Lock()
		s.forward = nil
		s.mu.Unlock()
		signal.Reset(proxied...)
		signal.Notify(s.ch, os.Interrupt, syscall.SIGTERM)
	}
}

// caught returns the exit status of a command that a signal has ended: 128 and
// the signal's number, as a shell has it.
func (s *signals) caught() (status int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	number, ok := s.ended.(syscall.Signal)
	return 128 + int(number), ok
}

func (s *signals) stop() {
	signal.Stop(s.ch)
	close(s.ch)
	s.cancel()
}
