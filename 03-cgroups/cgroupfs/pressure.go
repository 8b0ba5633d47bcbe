//go:build linux

package cgroupfs

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// Pressure is how much of the time work stood still for want of a resource
// (Documentation/accounting/psi.rst). A CPU that is busy all day is no pressure;
// a second thread that waits for it is.
type Pressure struct {
	Some Stall // at least one task waited
	Full Stall // all tasks that had something to do waited at the same time
}

// Stall is time lost: the last 10, 60 and 300 seconds' averages in percent, and
// the sum since the cgroup was made.
type Stall struct {
	Avg10, Avg60, Avg300 float64
	Total                time.Duration
}

// ReadPressure reads a pressure file: "some avg10=0.22 avg60=0.17 avg300=1.11
// total=58761459", and the same for full. The error is of kind
// FailedPrecondition where the kernel was booted without the measurement.
func ReadPressure(path string) (Pressure, error) {
	b, err := Read(path)
	if errdefs.IsFailedPrecondition(err) {
		return Pressure{}, fmt.Errorf("%w: this kernel measures no pressure: boot it with psi=1", err)
	}
	if err != nil {
		return Pressure{}, err
	}
	var p Pressure
	for line := range strings.Lines(string(b)) {
		stall := &p.Some
		if strings.HasPrefix(line, "full ") {
			stall = &p.Full
		}
		var micros int64
		if _, err := fmt.Sscanf(line[min(5, len(line)):], "avg10=%f avg60=%f avg300=%f total=%d", &stall.Avg10, &stall.Avg60, &stall.Avg300, &micros); err != nil {
			return Pressure{}, fmt.Errorf("%s: %q: %w", path, line, err)
		}
		stall.Total = time.Duration(micros) * time.Microsecond
	}
	return p, nil
}

// AwaitPressure returns when tasks were stalled for the time stall within a
// time window (500ms to 10s; without CAP_SYS_RESOURCE a multiple of 2s). The
// kernel measures, and wakes us: a trigger (psi.rst, "Monitoring for pressure
// thresholds"). Errors: InvalidArgument (times that the kernel refuses), NotFound
// (the cgroup was removed), ctx's cause.
func AwaitPressure(ctx context.Context, path string, stall, window time.Duration) error {
	fd, err := open(path, unix.O_RDWR|unix.O_NONBLOCK)
	if err != nil {
		return refuse("open", path, err)
	}
	// The trigger lives as long as the descriptor.
	defer unix.Close(fd)
	trigger := fmt.Sprintf("some %d %d", stall.Microseconds(), window.Microseconds())
	chapter.Call(ctx, "wake me when tasks were stalled for so many microseconds of so many", "write(%q, %q)", path, trigger)
	if _, err := unix.Write(fd, []byte(trigger)); err != nil {
		return refuse("write "+trigger+" to", path, err)
	}
	gone, err := AwaitPriority(ctx, fd)
	if gone {
		return errdefs.ErrNotFound.WithMessage(fmt.Sprintf("%s: the cgroup was removed", path))
	}
	return err
}
