//go:build linux

package overlayfs

import (
	"sync"

	"golang.org/x/sys/unix"
)

// syncer lets layers that are finished at about the same time share one
// syncfs(2), which writes the whole file system whoever asks. A call counts for
// a layer only if it began after the layer's last write, so those that come
// while one runs wait for the next, together.
type syncer struct {
	mu      sync.Mutex
	running bool
	next    *round
}

type round struct {
	done chan struct{}
	err  error
}

// syncfs returns when the file system of fd has been written to the disk.
func (s *syncer) syncfs(fd int) error {
	s.mu.Lock()
	if s.next == nil {
		s.next = &round{done: make(chan struct{})}
	}
	mine := s.next
	if s.running {
		s.mu.Unlock()
		<-mine.done
		return mine.err
	}
	for r := mine; r != nil; r = s.next {
		s.running, s.next = true, nil
		s.mu.Unlock()
		r.err = unix.Syncfs(fd)
		close(r.done)
		s.mu.Lock()
	}
	s.running = false
	s.mu.Unlock()
	return mine.err
}
