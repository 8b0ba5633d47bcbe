//go:build linux

package images

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
)

// Three want one thing. One gives up: the work goes on. All give up: it is
// cancelled, and the last one returns when it has ended.
func TestFlights(t *testing.T) {
	var f flights
	var runs atomic.Int32
	begun := make(chan struct{})
	ended := make(chan struct{})
	work := func(ctx context.Context, progress func(Progress)) error {
		runs.Add(1)
		progress(Progress{Status: "begun"})
		close(begun)
		<-ctx.Done()
		close(ended)
		return ctx.Err()
	}
	var all sync.WaitGroup
	joined := make(chan struct{}, 3)
	var leave []context.CancelFunc
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		leave = append(leave, cancel)
		all.Go(func() {
			err := f.do(ctx, "key", func(Progress) { joined <- struct{}{} }, work)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("do = %v", err)
			}
		})
		<-joined // the second and third are told what was said last
	}
	<-begun
	leave[0]() // the one that started it
	leave[1]()
	select {
	case <-ended:
		t.Fatal("the work ended although somebody waits")
	default:
	}
	leave[2]()
	all.Wait()
	select {
	case <-ended:
	default:
		t.Error("the last one returned before the work had ended")
	}
	if n := runs.Load(); n != 1 {
		t.Errorf("the work ran %d times", n)
	}
	if err := f.do(t.Context(), "key", func(Progress) {}, func(context.Context, func(Progress)) error { return nil }); err != nil {
		t.Errorf("the key cannot be used again: %v", err)
	}
}

// Who joined a work that failed tries it by himself.
func TestFlightsRetryForThoseWhoJoined(t *testing.T) {
	var f flights
	failure := errors.New("no credentials")
	joined, begun := make(chan struct{}), make(chan struct{})
	var first sync.WaitGroup
	first.Go(func() {
		err := f.do(t.Context(), "key", func(Progress) {}, func(_ context.Context, progress func(Progress)) error {
			progress(Progress{Status: "trying"})
			close(begun)
			<-joined
			return failure
		})
		if err != failure {
			t.Errorf("the first got %v", err)
		}
	})
	<-begun
	var once sync.Once
	err := f.do(t.Context(), "key", func(Progress) { once.Do(func() { close(joined) }) }, func(context.Context, func(Progress)) error { return nil })
	if err != nil {
		t.Errorf("the second got %v", err)
	}
	first.Wait()
}
