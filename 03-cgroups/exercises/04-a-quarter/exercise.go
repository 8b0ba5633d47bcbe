//go:build linux && !solution

// Package aquarter is an exercise of chapter 3.
package aquarter

import (
	"errors"
	"time"
)

// Throttle limits the cgroup dir, a directory of the hierarchy with the cpu
// controller, to so many CPUs' time (0.25 is a quarter of one) in each period.
func Throttle(dir string, cpus float64, period time.Duration) error {
	return errors.New("not solved yet")
}
