//go:build linux

package engine

import (
	"context"

	"github.com/moby/moby/api/types/container"
)

// waiter is one call of ContainerWait that has not been answered.
type waiter struct {
	condition container.WaitCondition
	answer    chan container.WaitResponse // of capacity 1: whoever answers never blocks
}

// ContainerWait returns a channel that receives one value, the exit code, when the container
// meets the condition: not-running (the default; at once when it does not run), next-exit, or
// removed. The registration is done when ContainerWait returns: what happens afterwards is not
// missed. When ctx ends first nothing is sent.
func (e *Engine) ContainerWait(ctx context.Context, id string, condition container.WaitCondition) (<-chan container.WaitResponse, error) {
	switch condition {
	case "":
		condition = container.WaitConditionNotRunning
	case container.WaitConditionNotRunning, container.WaitConditionNextExit, container.WaitConditionRemoved:
	default:
		return nil, invalid("invalid condition: %q", condition)
	}
	c, err := e.find(id)
	if err != nil {
		return nil, err
	}

	w := &waiter{condition: condition, answer: make(chan container.WaitResponse, 1)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone || condition == container.WaitConditionNotRunning && !c.rec.State.running() {
		w.answer <- container.WaitResponse{StatusCode: int64(c.rec.State.ExitCode)}
		return w.answer, nil
	}
	c.waiters[w] = struct{}{}
	context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.waiters, w)
	})
	return w.answer, nil
}

// answer tells the waiters of one of the conditions the container's exit code. The caller holds c.mu.
func (c *Container) answer(conditions ...container.WaitCondition) {
	for w := range c.waiters {
		for _, condition := range conditions {
			if w.condition == condition {
				w.answer <- container.WaitResponse{StatusCode: int64(c.rec.State.ExitCode)}
				delete(c.waiters, w)
				break
			}
		}
	}
}
