package cli

import (
	"context"
	"time"
)

// sizeChanges says from time to time that the terminal may have another size,
// because Windows tells nobody. It is closed at the end of ctx.
func (c *cli) sizeChanges(ctx context.Context) <-chan struct{} {
	changes := make(chan struct{})
	go func() {
		defer close(changes)
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case changes <- struct{}{}:
			case <-ctx.Done():
				return
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	return changes
}
