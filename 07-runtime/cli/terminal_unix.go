//go:build unix

package cli

import (
	"context"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// sizeChanges says once at the beginning, and then at each SIGWINCH, that the
// terminal may have another size. It is closed at the end of ctx.
func (c *cli) sizeChanges(ctx context.Context) <-chan struct{} {
	changes := make(chan struct{}, 1)
	changes <- struct{}{}
	winch := make(chan os.Signal, 1)
	signal.Notify(winch, unix.SIGWINCH)
	go func() {
		defer close(changes)
		defer signal.Stop(winch)
		for {
			select {
			case <-winch:
				select {
				case changes <- struct{}{}:
				default: // One is waiting, and will see this size, too.
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return changes
}
