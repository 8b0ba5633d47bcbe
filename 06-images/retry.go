//go:build linux

package images

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"time"
)

const (
	attempts   = 4                      // how often one call is made
	firstDelay = 200 * time.Millisecond // doubles with each attempt
	maxWait    = time.Minute            // who asks for more patience is told to the user instead
)

// retry calls do until it succeeds, fails for good, or has failed often enough,
// and waits longer each time, or as long as the registry asks.
func retry[T any](ctx context.Context, do func() (T, error)) (T, error) {
	for n := 1; ; n++ {
		result, err := do()
		if err == nil || n == attempts || !transient(err) || pause(ctx, delay(n, err)) != nil {
			return result, err
		}
	}
}

// transient says whether the same call may well succeed in a moment: the
// registry is overloaded, or a connection broke. That nobody listens is
// not of this kind: who mistypes a port should not wait for the answer.
func transient(err error) bool {
	if status, ok := errors.AsType[*StatusError](err); ok {
		switch status.StatusCode {
		case http.StatusTooManyRequests:
			return status.RetryAfter <= maxWait
		case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return status.RetryAfter <= maxWait
		}
		return false
	}
	op, ok := errors.AsType[*net.OpError](err)
	if ok && op.Op == "dial" {
		return false
	}
	return ok || errors.Is(err, errBroken)
}

// delay returns how long to wait after the nth failure.
func delay(n int, err error) time.Duration {
	if status, ok := errors.AsType[*StatusError](err); ok && status.RetryAfter > 0 {
		return status.RetryAfter
	}
	return firstDelay << (n - 1)
}

// pause waits, and returns an error when ctx ends first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// retryAfter reads a Retry-After header: seconds or a date (RFC 9110, section
// 10.2.3). It is 0 where there is none.
func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.Atoi(value); err == nil {
		return max(0, min(time.Duration(seconds), 1<<30)) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}
