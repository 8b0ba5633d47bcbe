//go:build linux

package oci_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/hosttest"
	namespaces "drydock.example/02-namespaces"
	cgroups "drydock.example/03-cgroups"
	"drydock.example/07-runtime/bundletest"
	"drydock.example/07-runtime/oci"
)

// cgroupFile reads a file of the container's cgroup, by its name on v1 or on v2.
func (b *bundle) cgroupFile(v1, v2 string) string {
	b.t.Helper()
	for _, pattern := range []string{"/sys/fs/cgroup/*" + hosttest.Cgroup() + "/" + b.id + "/" + v1, "/sys/fs/cgroup" + hosttest.Cgroup() + "/" + b.id + "/" + v2} {
		if files, _ := filepath.Glob(pattern); len(files) > 0 {
			text, err := os.ReadFile(files[0])
			if err != nil {
				b.t.Fatal(err)
			}
			return strings.TrimSpace(string(text))
		}
	}
	b.t.Fatalf("the cgroup has neither %s nor %s", v1, v2)
	return ""
}

func TestPause(t *testing.T) {
	b := newBundle(t, "signals")
	b.refuses("container does not exist", "pause", b.id)
	b.must("run", "--detach", b.id)
	pid := b.state().Pid
	b.refuses("container not paused", "resume", b.id)
	b.must("pause", b.id)
	if s := b.state(); s.Status != oci.StatePaused || s.Pid != pid {
		t.Errorf("paused: %+v", s)
	}
	if out := b.must("list"); !strings.Contains(out, " paused ") {
		t.Errorf("list: %s", out)
	}
	b.refuses("container not running", "pause", b.id)
	b.refuses("that is not stopped: paused", "delete", b.id)
	b.must("kill", b.id, "TERM") // seen when it goes on
	b.must("resume", b.id)
	b.wait(pid)
	b.refuses("container not running", "pause", b.id)
}

func TestAPausedContainerCanBeKilledAndDeleted(t *testing.T) {
	for _, end := range [][]string{{"kill", "ID", "KILL"}, {"kill", "--all", "ID", "KILL"}, {"delete", "--force", "ID"}} {
		t.Run(strings.Join(end, " "), func(t *testing.T) {
			b := newBundle(t, "sleep")
			b.must("run", "--detach", b.id)
			pid := b.state().Pid
			b.must("pause", b.id)
			end[slices.Index(end, "ID")] = b.id
			b.must(end...)
			b.wait(pid)
			if !zombie(pid) {
				t.Errorf("process %d lives", pid)
			}
		})
	}
}

func TestUpdate(t *testing.T) {
	b := newBundle(t, "sleep")
	b.refuses("container does not exist", "update", "--pids-limit", "10", b.id)
	b.must("run", "--detach", b.id)
	pid := b.state().Pid
	b.must("update", "--memory", "64m", "--pids-limit", "20", "--cpu-quota", "50000", "--cpu-period", "100000", b.id)
	for _, limit := range []struct{ v1, v2, want1, want2 string }{
		{"memory.limit_in_bytes", "memory.max", "67108864", "67108864"},
		{"pids.max", "pids.max", "20", "20"},
		{"cpu.cfs_quota_us", "cpu.max", "50000", "50000 100000"},
	} {
		if got := b.cgroupFile(limit.v1, limit.v2); got != limit.want1 && got != limit.want2 {
			t.Errorf("%s is %s, want %s", limit.v1, got, limit.want1)
		}
	}
	file := filepath.Join(t.TempDir(), "limits")
	if err := os.WriteFile(file, []byte(`{"pids": {"limit": 30}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	b.must("update", "--resources", file, b.id)
	if got := b.cgroupFile("pids.max", "pids.max"); got != "30" {
		t.Errorf("pids.max is %s", got)
	}
	c := b.command("update", "-r", "-", b.id)
	c.Stdin = strings.NewReader(`{"pids": {"limit": -1}}`)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got := b.cgroupFile("pids.max", "pids.max"); got != "max" {
		t.Errorf("pids.max is %s", got)
	}
	if got := b.cgroupFile("memory.limit_in_bytes", "memory.max"); got != "67108864" {
		t.Errorf("what was not mentioned has changed: memory limit %s", got)
	}
	b.refuses("invalid value \"much\" for flag -memory", "update", "--memory", "much", b.id)
	b.refuses("unexpected EOF", "update", "-r", brokenFile(t), b.id)
	b.must("kill", b.id, "KILL")
	b.wait(pid)
	b.refuses("container not running", "update", "--pids-limit", "10", b.id)
}

func brokenFile(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(path, []byte(`{"pids"`), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestStats(t *testing.T) {
	b := newBundle(t, "sleep")
	b.refuses("container does not exist", "events", "--stats", b.id)
	b.must("run", "--detach", b.id)
	pid := b.state().Pid
	var e struct {
		Type, ID string
		Data     struct {
			CPU    struct{ Usage struct{ Total uint64 } }
			Memory struct{ Usage struct{ Usage, Limit uint64 } }
			Pids   struct{ Current uint64 }
		}
	}
	out := b.must("events", "--stats", b.id)
	if err := json.Unmarshal([]byte(out), &e); err != nil || e.Type != "stats" || e.ID != b.id {
		t.Fatalf("%s: %v", out, err)
	}
	if d := e.Data; d.CPU.Usage.Total == 0 || d.Memory.Usage.Usage == 0 || d.Memory.Usage.Limit == 0 || d.Pids.Current == 0 {
		t.Errorf("stats: %s", out)
	}
	mode, err := cgroups.Detect()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/proc/pressure/cpu"); err == nil && mode != cgroups.V1 {
		for _, part := range []string{"cpu", "memory", "blkio"} {
			if !regexp.MustCompile(`"` + part + `":\{.*"psi":\{"some":\{"avg10":[0-9.]+,"avg60":[0-9.]+,"avg300":[0-9.]+,"total":[0-9]+\},"full":\{"avg10":`).MatchString(out) {
				t.Errorf("no pressure of %s: %s", part, out)
			}
		}
	}
	b.refuses("duration interval must be greater than 0", "events", "--interval", "0s", b.id)
	b.must("kill", b.id, "KILL")
	b.wait(pid)
	b.refuses("is not running", "events", "--stats", b.id)
}

func TestEvents(t *testing.T) {
	b := newBundle(t, "eat-when-told")
	limit := int64(32 << 20)
	b.spec.Linux.Resources = &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit}}
	b.must("run", "--detach", b.id)
	c := b.command("events", "--interval", "50ms", b.id)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var e struct{ Type, ID string }
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil || e.ID != b.id {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		if seen[e.Type]++; seen["stats"] == 2 && e.Type == "stats" {
			b.must("kill", b.id, "USR2") // now it eats, until it is killed
		}
	}
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
	if seen["oom"] == 0 || seen["stats"] < 2 {
		t.Errorf("events: %v", seen)
	}
}

func TestPs(t *testing.T) {
	b := newBundle(t, "sleep")
	b.must("run", "--detach", b.id)
	out := b.must("ps", b.id)
	row := fmt.Sprintf(`^UID +PID +PPID +C +STIME +TTY +TIME +CMD\nroot +%d +\d+ +\d+ +\S+ +\? +00:00:0\d +%s sleep\n$`, b.state().Pid, bundletest.Program)
	if !regexp.MustCompile(row).MatchString(out) {
		t.Errorf("ps:\n%s", out)
	}
	b.refuses("invalid format option", "ps", "--format", "xml", b.id)
	b.refuses("invalid format option", "list", "--format", "xml")
}

func TestPsWithOptions(t *testing.T) {
	hosttest.Require(t, hosttest.Program("ps"))
	b := newBundle(t, "sleep")
	b.must("run", "--detach", b.id)
	out := b.must("ps", b.id, "-e", "-o", "pid,comm")
	if got := strings.Join(strings.Fields(out), " "); got != fmt.Sprintf("PID COMMAND %d program", b.state().Pid) {
		t.Errorf("ps:\n%s", out)
	}
	b.refuses("couldn't find PID field", "ps", b.id, "-e", "-o", "comm")
}

func TestCheckpointIsNotSupported(t *testing.T) {
	b := newBundle(t, "sleep")
	b.refuses("checkpoint: not supported", "checkpoint", "--image-path", "/x", b.id)
	b.refuses("restore: not supported", "restore", b.id)
	b.refuses("--parent-path ./before", "checkpoint", "--parent-path", "./before", b.id)
	if out := b.must("checkpoint", "-h"); !strings.Contains(out, "drydock-runtime checkpoint - not supported\n") {
		t.Errorf("%s", out)
	}
}

func TestNoPivot(t *testing.T) {
	b := newBundle(t, "read-file", "/etc/plain")
	if out := b.must("run", "--no-pivot", b.id); out != "plain" {
		t.Errorf("%q", out)
	}
}

// TestNoPivotLeavesNoProc: a procfs without masks that stayed below the new
// root would let a user namespace mount one (mount_too_revealing).
func TestNoPivotLeavesNoProc(t *testing.T) {
	b := newBundle(t, "mount-proc")
	for _, set := range []*[]string{&b.spec.Process.Capabilities.Bounding, &b.spec.Process.Capabilities.Effective, &b.spec.Process.Capabilities.Permitted} {
		*set = append(*set, "CAP_SETFCAP") // or root may not be mapped
	}
	for _, pivot := range [][]string{{"run", b.id}, {"run", "--no-pivot", b.id}} {
		if out := b.must(pivot...); out != "mount: operation not permitted\n" {
			t.Errorf("%v: %q", pivot, out)
		}
	}
	b.spec.Linux.MaskedPaths, b.spec.Linux.ReadonlyPaths = nil, nil
	if out := b.must("run", b.id); out != "mount: <nil>\n" {
		t.Errorf("where nothing is masked: %q", out)
	}
}

// TestAReadOnlyDevHasItsDevices: what is made in /dev is made before.
func TestAReadOnlyDevHasItsDevices(t *testing.T) {
	b := newBundle(t, "write-file", "/dev/new", "x")
	b.spec.Mounts[1].Options = append(b.spec.Mounts[1].Options, "ro")
	if out, status := b.runtime("run", b.id); status != 1 || !strings.Contains(out, "read-only file system") {
		t.Errorf("a new file in /dev: status %d: %s", status, out)
	}
	b.spec.Process.Args = []string{bundletest.Program, "write-file", "/dev/null", "x"}
	b.must("run", b.id)
}

// requireKeys skips the test on a kernel without CONFIG_KEYS.
func requireKeys(t *testing.T) {
	t.Helper()
	if _, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false); err == unix.ENOSYS {
		t.Skip("this kernel has no keys")
	}
}

func TestSessionKeyring(t *testing.T) {
	requireKeys(t)
	b := newBundle(t, "keyring")
	if out := b.must("run", b.id); out != "_ses."+b.id+"\n" {
		t.Errorf("a new one: %q", out)
	}
	if out := b.must("run", "--no-new-keyring", b.id); strings.HasPrefix(out, "_ses."+b.id) {
		t.Errorf("the caller's: %q", out)
	}
}

func TestListenFDs(t *testing.T) {
	b := newBundle(t, "env")
	c := b.command("run", "--preserve-fds", "1", b.id)
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c.ExtraFiles = []*os.File{f, f}
	// A shell knows the process id that the runtime will have.
	c.Path, c.Args = "/bin/sh", append([]string{"sh", "-c", `LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"`, "sh"}, c.Args...)
	if out, err := c.CombinedOutput(); err != nil || !strings.Contains(string(out), "LISTEN_FDS=1\nLISTEN_PID=1\n") {
		t.Errorf("%s%v", out, err)
	}
	b.refuses("unable to stat preserved-fd", "run", "--preserve-fds", "100", b.id)
}

func TestNotifySocket(t *testing.T) {
	for _, way := range [][]string{{"run", "--detach"}, {"create"}} {
		t.Run(way[0], func(t *testing.T) {
			b := newBundle(t, "notify")
			path := filepath.Join(t.TempDir(), "s")
			host, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
			if err != nil {
				t.Fatal(err)
			}
			defer host.Close()
			t.Setenv("NOTIFY_SOCKET", path)
			b.must(append(way, b.id)...)
			if way[0] == "create" {
				b.must("start", b.id)
			}
			buf := make([]byte, 100)
			n, err := host.Read(buf)
			if want := fmt.Sprintf("READY=1\nMAINPID=%d\n", b.state().Pid); err != nil || string(buf[:n]) != want {
				t.Errorf("the host hears %q, %v; want %q", buf[:n], err, want)
			}
		})
	}
}

func TestLimitsThatMayNotBeRaised(t *testing.T) {
	// A limit without a ceiling: nobody may have more files than fs.nr_open.
	var have unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MSGQUEUE, &have); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_MSGQUEUE, &unix.Rlimit{Cur: have.Cur, Max: have.Max + 1}); err == nil {
		t.Skip("this process may raise its limits")
	}
	b := newBundle(t, "read-file", "/proc/self/limits")
	b.spec.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_MSGQUEUE", Soft: have.Max + 1, Hard: have.Max + 1}}
	b.spec.Process.OOMScoreAdj = new(-1000)
	out := b.must("run", b.id)
	if !strings.Contains(out, "level=warning msg=\"process.rlimits: RLIMIT_MSGQUEUE") || !regexp.MustCompile(fmt.Sprintf(`Max msgqueue size +%d +%[1]d `, have.Max)).MatchString(out) {
		t.Errorf("%s", out)
	}
	if !strings.Contains(out, "process.oomScoreAdj") {
		t.Errorf("no word of the OOM score: %s", out)
	}
}

func TestSchedulingAndPersonality(t *testing.T) {
	b := newBundle(t, "scheduling")
	b.spec.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedBatch, Nice: 5}
	b.spec.Process.IOPriority = &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_BE, Priority: 6}
	b.spec.Linux.Personality = &specs.LinuxPersonality{Domain: specs.PerLinux32}
	if out := b.must("run", b.id); out != "policy 3 nice 5 io 2/6 personality 0x8\n" {
		t.Errorf("%q", out)
	}
	b.spec.Process.Scheduler.Policy = "SCHED_MAGIC"
	b.refuses(`policy "SCHED_MAGIC" is none of sched_setattr(2)`, "run", b.id)
}

func TestLabelsThatTheKernelLacks(t *testing.T) {
	b := newBundle(t, "exit", "0")
	if _, err := os.Stat("/sys/fs/selinux/enforce"); err != nil {
		b.spec.Process.SelinuxLabel = "system_u:system_r:container_t:s0"
		b.refuses("selinux label is specified in config, but selinux is disabled or not supported", "run", b.id)
		b.spec.Process.SelinuxLabel = ""
	}
	if _, err := os.Stat("/sys/module/apparmor"); err != nil {
		b.spec.Process.ApparmorProfile = "some"
		b.refuses("apparmor: config provided but apparmor not supported", "run", b.id)
	}
}

func TestAMountLabelWithoutSELinux(t *testing.T) {
	if namespaces.SELinux() {
		t.Skip("this kernel has SELinux")
	}
	b := newBundle(t, "exit", "0")
	b.spec.Linux.MountLabel = "system_u:object_r:container_file_t:s0"
	if out := b.must("run", b.id); !strings.Contains(out, "linux.mountLabel: SELinux is not enabled here") {
		t.Errorf("no warning: %q", out)
	}
}

func TestSpecRootless(t *testing.T) {
	b := newBundle(t)
	dir := t.TempDir()
	b.must("spec", "--rootless", "--bundle", dir)
	text, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var s specs.Spec
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	kinds := []string{}
	for _, ns := range s.Linux.Namespaces {
		kinds = append(kinds, string(ns.Type))
	}
	if !slices.Contains(kinds, "user") || slices.Contains(kinds, "network") || len(s.Linux.UIDMappings) == 0 {
		t.Errorf("namespaces %v, users %v", kinds, s.Linux.UIDMappings)
	}
}

func TestATmpfsLooksLikeTheDirectoryThatItCovers(t *testing.T) {
	b := newBundle(t, "mode", "/data")
	data := filepath.Join(b.dir, "rootfs/data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		mode    uint32 // of the directory
		options []string
		want    string
	}{
		{0o710, nil, "710"},
		{0o7777, []string{"nosuid"}, "7777"},
		{0o700, []string{"mode=1750"}, "1750"},
	} {
		if err := unix.Chmod(data, test.mode); err != nil {
			t.Fatal(err)
		}
		b.spec.Mounts = append(b.spec.Mounts[:5:5], specs.Mount{Destination: "/data", Type: "tmpfs", Source: "tmpfs", Options: test.options})
		if out := b.must("run", b.id); out != test.want+"\n" {
			t.Errorf("%o, %v: %q, want %s", test.mode, test.options, out, test.want)
		}
	}
}

func TestAnUnknownCapabilityIsAWarning(t *testing.T) {
	b := newBundle(t, "read-file", "/proc/self/status")
	b.spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: []string{"CAP_FLY", "CAP_KILL"}, Effective: []string{"CAP_FLY", "NET_ADMIN"}, Permitted: []string{"CAP_KILL"}}
	out := b.must("run", b.id)
	if !strings.Contains(out, "CapBnd:\t0000000000000020\n") || strings.Count(out, `level=warning msg="process.capabilities: \"CAP_FLY\"`) != 1 || !strings.Contains(out, `\"NET_ADMIN\" is no capability`) {
		t.Errorf("%s", out)
	}
}

func TestHomeAndTheLastOfEachVariable(t *testing.T) {
	b := newBundle(t, "env")
	etc := filepath.Join(b.dir, "rootfs/etc")
	if err := os.WriteFile(etc+"/passwd", []byte("sailor:x:1000:1000::/home/sailor:/bin/sh\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		uid       uint32
		env, want []string
	}{
		{1000, []string{"PATH=/bin"}, []string{"PATH=/bin", "HOME=/home/sailor"}},
		{1000, []string{"HOME=/ship", "HOME="}, []string{"HOME=/home/sailor"}},
		{1000, []string{"HOME=", "A=1", "HOME=/ship", "A=2"}, []string{"HOME=/ship", "A=2"}},
		{7, nil, []string{"HOME=/"}},
	} {
		b.spec.Process.User.UID, b.spec.Process.Env = test.uid, test.env
		if out := b.must("run", b.id); out != strings.Join(test.want, "\n")+"\n" {
			t.Errorf("user %d, %q: %q, want %q", test.uid, test.env, out, test.want)
		}
	}
	// The image may have made anything of the file.
	if err := errors.Join(os.Remove(etc+"/passwd"), unix.Mkfifo(etc+"/passwd", 0o666)); err != nil {
		t.Fatal(err)
	}
	if out := b.must("run", b.id); out != "HOME=/\n" {
		t.Errorf("%q", out)
	}
}

// A service may be bound to some CPUs; its containers are not.
func TestTheCallersAffinityIsNotTheContainers(t *testing.T) {
	const status = "/proc/self/status"
	var before, first unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		t.Fatal(err)
	}
	if before.Count() < 2 {
		t.Skip("one CPU")
	}
	for cpu := 0; first.Count() == 0; cpu++ {
		if before.IsSet(cpu) {
			first.Set(cpu)
		}
	}
	allowed := func(text string) string {
		_, rest, _ := strings.Cut(text, "\nCpus_allowed:\t")
		mask, _, _ := strings.Cut(rest, "\n")
		return mask
	}
	text, err := os.ReadFile(status)
	if err != nil {
		t.Fatal(err)
	}
	b := newBundle(t, "read-file", status)
	runtime.LockOSThread() // until the end: the thread ends with the test, and its binding too
	if err := unix.SchedSetaffinity(0, &first); err != nil {
		t.Fatal(err)
	}
	if got, want := allowed(b.must("run", b.id)), allowed(string(text)); got != want {
		t.Errorf("run: %s, want %s", got, want)
	}
	b.spec.Process.Args = []string{bundletest.Program, "sleep"}
	b.must("run", "--detach", b.id)
	if got, want := allowed(b.must("exec", b.id, bundletest.Program, "read-file", status)), allowed(string(text)); got != want {
		t.Errorf("exec: %s, want %s", got, want)
	}
}

func TestTmpcopyup(t *testing.T) {
	b := newBundle(t, "read-file", "/data/below/file")
	data := filepath.Join(b.dir, "rootfs/data")
	if err := os.MkdirAll(data+"/below", 0o711); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(data+"/below/file", []byte("copied"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/proc/1/root/etc", data+"/link"); err != nil {
		t.Fatal(err)
	}
	for _, options := range [][]string{{"tmpcopyup"}, {"tmpcopyup", "ro"}} {
		b.spec.Mounts = append(b.spec.Mounts[:5:5], specs.Mount{Destination: "/data", Type: "tmpfs", Source: "tmpfs", Options: options})
		if out := b.must("run", b.id); out != "copied" {
			t.Errorf("%v: %q", options, out)
		}
	}
	b.spec.Process.Args = []string{bundletest.Program, "write-file", "/data/below/file", "changed"}
	if out, status := b.runtime("run", b.id); status != 1 || !strings.Contains(out, "read-only file system") {
		t.Errorf("ro: status %d: %s", status, out)
	}
	b.spec.Mounts[5].Options = []string{"tmpcopyup"}
	b.must("run", b.id)
	if text, err := os.ReadFile(data + "/below/file"); string(text) != "copied" {
		t.Errorf("the original is %q, %v", text, err)
	}
}
