//go:build linux

package namespaces

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/hosttest"
)

// swap exchanges two names without pause, until the test ends: the part of a
// container that shares the root file system with the one that is being made.
func swap(t *testing.T, a, b string) {
	t.Helper()
	stop := make(chan struct{})
	var attacker sync.WaitGroup
	attacker.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
			}
		}
	})
	t.Cleanup(func() {
		close(stop)
		attacker.Wait()
	})
}

// TestMountTargetsWhileLinksAreExchanged makes mounts at a path that is, by
// turns, a directory and a link out of the root.
func TestMountTargetsWhileLinksAreExchanged(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	root, outside, volume := newRoot(t), t.TempDir(), t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "data"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(strings.Repeat("../", 40)+outside[1:], filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	swap(t, filepath.Join(root, "data"), filepath.Join(root, "link"))
	spec := NewSpec(root, "probe")
	spec.Mounts = append(spec.Mounts, specs.Mount{Destination: "/data/made/volume", Source: volume, Options: []string{"bind"}})
	for range 50 {
		p, err := Create(t.Context(), spec, Options{})
		if err == nil {
			inside, err := os.ReadFile("/proc/" + itoa(p.Pid) + "/mountinfo")
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(inside), volume) {
				t.Errorf("the volume was mounted elsewhere:\n%s", inside)
			}
			p.Kill()
			p.Wait()
		}
		if entries, _ := os.ReadDir(outside); len(entries) != 0 {
			t.Fatalf("made outside of the root: %v", entries)
		}
	}
}

// TestProcIsMaskedWhileItsPlaceIsExchanged changes the directory to which
// procfs goes into another one, between the mount and the masks.
func TestProcIsMaskedWhileItsPlaceIsExchanged(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	for _, other := range []string{"directory", "link"} {
		t.Run(other, func(t *testing.T) {
			root := newRoot(t)
			decoy := filepath.Join(root, "decoy")
			for _, dir := range []string{filepath.Join(root, "proc"), filepath.Join(decoy, "sys")} {
				if err := os.MkdirAll(dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(decoy, "timer_list"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
			if other == "link" {
				if err := os.Symlink("decoy", filepath.Join(root, "to-decoy")); err != nil {
					t.Fatal(err)
				}
				decoy = filepath.Join(root, "to-decoy")
			}
			swap(t, filepath.Join(root, "proc"), decoy)
			made := 0
			for range 60 {
				p, err := Create(t.Context(), NewSpec(root, "probe"), Options{})
				if err != nil {
					continue
				}
				inside, err := os.ReadFile("/proc/" + itoa(p.Pid) + "/mountinfo")
				p.Kill()
				p.Wait()
				if err != nil {
					t.Fatal(err)
				}
				made++
				checkMasked(t, string(inside))
			}
			if made == 0 {
				t.Skip("the attacker was faster each time: no container to look at")
			}
		})
	}
}

// checkMasked looks, on every procfs of a mountinfo, for the mounts that cover
// a masked path and a read-only one.
func checkMasked(t *testing.T, mountinfo string) {
	t.Helper()
	for line := range strings.Lines(mountinfo) {
		f := strings.Fields(line)
		if !strings.Contains(line, " - proc ") || f[3] != "/" {
			continue
		}
		for _, name := range []string{"/timer_list", "/sys"} {
			covered := false
			for other := range strings.Lines(mountinfo) {
				o := strings.Fields(other)
				covered = covered || o[1] == f[0] && strings.HasSuffix(o[4], name)
			}
			if !covered {
				t.Errorf("%s of the procfs at %s is open:\n%s", name, f[4], mountinfo)
			}
		}
	}
}

// TestNothingIsWrittenThroughAFalseProc puts a directory with the right names in
// it over /proc: a limit that was written there would not hold
// (CVE-2025-52881, CVE-2019-19921).
func TestNothingIsWrittenThroughAFalseProc(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	volume := t.TempDir()
	for _, file := range []string{"self/oom_score_adj", "sys/net/ipv4/ip_forward"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(volume, file)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(volume, file), nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	spec := NewSpec(newRoot(t), "probe")
	spec.Mounts = append(spec.Mounts, specs.Mount{Destination: "/proc", Source: volume, Options: []string{"bind"}})
	spec.Linux.MaskedPaths, spec.Linux.ReadonlyPaths = nil, nil
	spec.Linux.Sysctl = map[string]string{"net.ipv4.ip_forward": "1"}
	spec.Process.OOMScoreAdj = new(500)
	p := running(t, spec)
	if got, _ := os.ReadFile("/proc/" + itoa(p.Pid) + "/oom_score_adj"); string(got) != "500\n" {
		t.Errorf("a new container: %q", got)
	}
	target, err := OpenProcess(p.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	further := *spec.Process
	further.OOMScoreAdj = new(600)
	e, err := Exec(t.Context(), target, &further, Options{Init: static(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Wait()
	defer e.Kill()
	if got, _ := os.ReadFile("/proc/" + itoa(e.Pid) + "/oom_score_adj"); string(got) != "600\n" {
		t.Errorf("a further process: %q", got)
	}
	for _, file := range []string{"self/oom_score_adj", "sys/net/ipv4/ip_forward"} {
		if got, _ := os.ReadFile(filepath.Join(volume, file)); len(got) > 0 {
			t.Errorf("%s of the volume: %q", file, got)
		}
	}
}

// TestTheConsoleIsNoLink puts a link where the terminal goes (CVE-2025-52565).
func TestTheConsoleIsNoLink(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	volume := t.TempDir()
	if err := os.Mkdir(filepath.Join(volume, "pts"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/proc/version", filepath.Join(volume, "console")); err != nil {
		t.Fatal(err)
	}
	spec := NewSpec(newRoot(t), "probe")
	spec.Process.Terminal = true
	for i, m := range spec.Mounts {
		if m.Destination == "/dev" {
			spec.Mounts[i] = specs.Mount{Destination: "/dev", Source: volume, Options: []string{"bind"}}
		}
	}
	spec.Mounts = slices.DeleteFunc(spec.Mounts, func(m specs.Mount) bool { return m.Destination == "/dev/shm" || m.Destination == "/dev/mqueue" })
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "socket"), os.NewFile(uintptr(pair[1]), "socket")
	defer ours.Close()
	defer theirs.Close()
	p, err := Create(t.Context(), spec, Options{ConsoleSocket: theirs})
	if err == nil {
		p.Kill()
		p.Wait()
	}
	if err == nil || !strings.Contains(err.Error(), "symbolic link") {
		t.Errorf("got %v", err)
	}
}

func TestSysctlPaths(t *testing.T) {
	for key, want := range map[string]string{
		"net.ipv4.ip_forward":             "/net/ipv4/ip_forward",
		"net.ipv4.conf.eth0/5.forwarding": "/net/ipv4/conf/eth0.5/forwarding",
		"net/ipv4/conf/eth0.5/forwarding": "/net/ipv4/conf/eth0.5/forwarding",
		"net/../../sysrq-trigger":         "/sysrq-trigger", // below /proc/sys, where there is none
		"hostname":                        "/hostname",
	} {
		if got := sysctlPath(key); got != want {
			t.Errorf("%s: %s, want %s", key, got, want)
		}
	}
}
