//go:build linux

package cgroups_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"drydock.example/01-chroot/hosttest"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// loop returns a block device of the test's own: a file behind a loop device.
func loop(t *testing.T, size int64) (path string, major, minor int64) {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "disk"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := file.Truncate(size); err != nil {
		t.Fatal(err)
	}
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("requires loop devices: %v", err)
	}
	defer control.Close()
	for {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			t.Skipf("requires a free loop device: %v", err)
		}
		path = "/dev/loop" + strconv.Itoa(n)
		device, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Skipf("requires loop devices: %v", err)
		}
		config := unix.LoopConfig{Fd: uint32(file.Fd())}
		config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR // with the last descriptor the device is free again
		err = unix.IoctlLoopConfigure(int(device.Fd()), &config)
		if errors.Is(err, unix.EBUSY) {
			device.Close() // somebody was faster
			continue
		}
		if err != nil {
			t.Skipf("requires loop devices: LOOP_CONFIGURE: %v", err)
		}
		t.Cleanup(func() { device.Close() })
		var st unix.Stat_t
		if err := unix.Fstat(int(device.Fd()), &st); err != nil {
			t.Fatal(err)
		}
		return path, int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))
	}
}

// playWrite writes bytes to a device, past the page cache, whose pages would be
// written later and by somebody else.
func playWrite(path, bytes string) error {
	size, err := strconv.Atoi(bytes)
	if err != nil {
		return err
	}
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_DIRECT, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	const piece = 64 << 10
	buf := make([]byte, piece+4096) // O_DIRECT wants it aligned
	buf = buf[4096-int(uintptr(unsafe.Pointer(&buf[0]))%4096):][:piece]
	began := time.Now()
	for done := 0; done < size; done += piece {
		if _, err := unix.Write(fd, buf); err != nil {
			return err
		}
	}
	fmt.Println(time.Since(began).Milliseconds())
	return nil
}

func TestIOLimitSlowsDown(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	const size = 512 << 10
	path, major, minor := loop(t, 1<<20)
	limit := specs.LinuxThrottleDevice{Rate: 1 << 20}
	limit.Major, limit.Minor = major, minor
	c := create(t, "io", &specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{ThrottleWriteBpsDevice: []specs.LinuxThrottleDevice{limit}}})
	p := start(t, c, "write", path, strconv.Itoa(size))
	ms, err := strconv.Atoi(strings.TrimSpace(p.said))
	if err != nil || ms < 300 {
		t.Errorf("half a megabyte at one a second took %q ms, %v", p.said, err)
	}
	s, err := c.Stats()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range s.IO {
		if int64(d.Major) == major && int64(d.Minor) == minor {
			if d.WriteBytes < size || d.Writes == 0 {
				t.Errorf("%+v", d)
			}
			return
		}
	}
	t.Errorf("no counters for %d:%d: %+v", major, minor, s.IO)
}

func TestIOLimitOfADeviceThatIsNot(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	limit := specs.LinuxThrottleDevice{Rate: 1 << 20}
	limit.Major, limit.Minor = 4000, 77
	c := create(t, "io-none", nil)
	err := c.Set(t.Context(), &specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{ThrottleWriteBpsDevice: []specs.LinuxThrottleDevice{limit}}})
	if err == nil || !strings.HasPrefix(err.Error(), "write 4000:77 ") || !errors.Is(err, unix.ENODEV) {
		t.Errorf("got %v", err)
	}
}
