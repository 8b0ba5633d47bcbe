//go:build linux && solution

// Package aquarter is an exercise of chapter 3.
package aquarter

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// Throttle limits the cgroup dir, a directory of the hierarchy with the cpu
// controller, to so many CPUs' time (0.25 is a quarter of one) in each period.
func Throttle(dir string, cpus float64, period time.Duration) error {
	quota := int64(cpus * float64(period.Microseconds()))
	write := func(file, value string) error { return os.WriteFile(dir+"/"+file, []byte(value), 0) }
	if _, err := os.Stat(dir + "/cpu.max"); err == nil {
		return write("cpu.max", fmt.Sprintf("%d %d", quota, period.Microseconds()))
	}
	return errors.Join(
		write("cpu.cfs_period_us", fmt.Sprint(period.Microseconds())),
		write("cpu.cfs_quota_us", fmt.Sprint(quota)),
	)
}
