//go:build linux

package runtime

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/explain/stracetest"
	"drydock.example/01-chroot/hosttest"
	"drydock.example/01-chroot/lesson"
	"drydock.example/07-runtime/bundletest"
)

func TestMain(m *testing.M) { os.Exit(hosttest.Run(m)) }

// TestReadme runs the chapter's text, and that of the front page, with an
// engine in its usual places: they are covered for the time of the test.
func TestReadme(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.Overlay, hosttest.Bridge, hosttest.Program("make"))
	for _, readme := range []string{"README.md", "../README.md"} {
		t.Run(filepath.Dir(filepath.Join("07-runtime", readme)), func(t *testing.T) {
			if err := unix.Mount("tmpfs", "/var/lib", "tmpfs", 0, "mode=755"); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				leave(t)
				if err := unix.Unmount("/var/lib", unix.MNT_DETACH); err != nil {
					t.Error(err)
				}
				os.RemoveAll("/run/drydock")
			})
			lesson.Test(t, readme)
		})
	}
}

// leave tells the daemon that the text has started on demand to leave, as its
// last reader would after a while, and waits until it has.
func leave(t *testing.T) {
	comms, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		t.Fatal(err)
	}
	for _, comm := range comms {
		name, _ := os.ReadFile(comm)
		if strings.TrimSpace(string(name)) != "drydockd" {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(comm)))
		if err != nil {
			t.Fatal(err)
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue
		}
		defer unix.Close(fd)
		if err := unix.PidfdSendSignal(fd, unix.SIGTERM, nil, 0); err != nil {
			t.Error(err)
		}
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 30000); err != nil {
			t.Error(err)
		}
	}
}

func TestWhatOthersAskTheKernel(t *testing.T) {
	stracetest.Table(t, "README.md", func(t *testing.T, name string) []string {
		if name == "drydock-runtime" {
			name = bundletest.Build(t, "cmd/drydock-runtime")
		}
		return stracetest.Runtime(t, name, bundletest.Build(t, "bundletest/program"), "exit", "0")
	})
}

func TestExercises(t *testing.T) { lesson.Exercises(t, "exercises") }
