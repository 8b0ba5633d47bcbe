//go:build linux

package oci_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	cgroups "drydock.example/03-cgroups"
	"drydock.example/07-runtime/bundletest"
)

// running is a bundle whose container sleeps.
func running(t *testing.T) *bundle {
	t.Helper()
	b := newBundle(t, "sleep")
	b.must("run", "--detach", b.id)
	return b
}

// fails is runtime for an exec that does not come to run its program.
func (b *bundle) fails(words string, args ...string) {
	b.t.Helper()
	out, status := b.runtime(args...)
	out = strings.ReplaceAll(out, `\"`, `"`)
	if status != 255 || !strings.Contains(out, "exec failed: ") || !strings.Contains(out, words) {
		b.t.Errorf("%v: status %d: %swant status 255 and %q", args, status, out, words)
	}
}

func TestExecFindsTheContainersKeyring(t *testing.T) {
	requireKeys(t)
	b := running(t)
	if out := b.must("exec", b.id, bundletest.Program, "keyring"); out != "_ses."+b.id+"\n" {
		t.Errorf("%q", out)
	}
}

func TestExec(t *testing.T) {
	b := running(t)
	for _, test := range []struct {
		options, command []string
		status           int
		output           string
	}{
		{nil, []string{"echo", "hello", "--flag"}, 0, "hello --flag\n"},
		{nil, []string{"exit", "42"}, 42, ""},
		{nil, []string{"kill", "9"}, 137, ""},
		{nil, []string{"fds"}, 0, "0\n1\n2\n"},
		{nil, []string{"whoami"}, 0, "0 0 [] /\n"},
		{[]string{"--user", "1000:2000", "-g", "5", "-g", "6", "--cwd", "/tmp"}, []string{"whoami"}, 0, "1000 2000 [5 6] /tmp\n"},
		{[]string{"-e", "A=b", "--env", "C=d"}, []string{"env"}, 0, "PATH=/bin\nA=b\nC=d\nHOME=/\n"},
	} {
		args := append([]string{"exec"}, test.options...)
		args = append(append(args, b.id, bundletest.Program), test.command...)
		if out, status := b.runtime(args...); status != test.status || out != test.output {
			t.Errorf("%v: status %d, output %q, want %d, %q", args, status, out, test.status, test.output)
		}
	}
	status := b.must("exec", "--cap", "CAP_NET_RAW", "--no-new-privs", b.id, bundletest.Program, "read-file", "/proc/self/status")
	if !regexp.MustCompile(`(?m)^CapBnd:\t0+20e3$`).MatchString(status) || !strings.Contains(status, "NoNewPrivs:\t1\n") {
		t.Errorf("capabilities:\n%s", status)
	}
	b.fails(`exec: "no-such-program": executable file not found in $PATH`, "exec", b.id, "no-such-program")
	b.fails("container does not exist", "exec", b.id+"x", "true")
	b.fails("parsing root as int for uid failed", "exec", "--user", "root", b.id, "true")
}

func TestExecIsInTheContainer(t *testing.T) {
	b := running(t)
	pid := b.state().Pid
	other := b.execDetached()
	for _, file := range []string{"ns/pid", "ns/mnt", "ns/net", "ns/uts", "ns/ipc", "root"} {
		first, _ := os.Readlink(fmt.Sprintf("/proc/%d/%s", pid, file))
		second, err := os.Readlink(fmt.Sprintf("/proc/%d/%s", other, file))
		if err != nil || first != second {
			t.Errorf("%s: %s and %s, %v", file, first, second, err)
		}
	}
	first, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	second, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", other))
	if err != nil || string(first) != string(second) {
		t.Errorf("cgroups:\n%s%s%v", first, second, err)
	}
	if out := b.must("ps", "--format", "json", b.id); out != fmt.Sprintf("[%d,%d]\n", pid, other) && out != fmt.Sprintf("[%d,%d]\n", other, pid) {
		t.Errorf("ps: %s", out)
	}
	b.must("kill", b.id, "KILL")
	b.wait(other)
	b.fails("cannot exec in a stopped container", "exec", b.id, bundletest.Program)
}

// TestExecWithoutTheBundle: the container's own copy of the config counts.
func TestExecWithoutTheBundle(t *testing.T) {
	b := newBundle(t, "sleep")
	b.spec.Process.Env = append(b.spec.Process.Env, "FROM=bundle")
	b.must("run", "--detach", b.id)
	b.spec.Process.Env[len(b.spec.Process.Env)-1] = "FROM=later"
	if out := b.must("exec", b.id, bundletest.Program, "env"); !strings.Contains(out, "FROM=bundle\n") {
		t.Errorf("with another config in the bundle: %s", out)
	}
	if err := os.Rename(b.dir, b.dir+"-gone"); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(b.program, "--root", b.root, "exec", b.id, bundletest.Program, "env")
	if out, err := c.CombinedOutput(); err != nil || !strings.Contains(string(out), "FROM=bundle\n") {
		t.Errorf("without the bundle: %v: %s", err, out)
	}
	if err := os.Rename(b.dir+"-gone", b.dir); err != nil {
		t.Fatal(err)
	}
}

func TestExecOfAProcessFile(t *testing.T) {
	b := running(t)
	p := &specs.Process{
		Args: []string{bundletest.Program, "whoami"}, Cwd: "/etc", Env: []string{"PATH=/bin"},
		User: specs.User{UID: 7, GID: 8}, ExecCPUAffinity: &specs.CPUAffinity{Initial: "0", Final: "0"},
	}
	write := func() string {
		path := filepath.Join(t.TempDir(), "process.json")
		text, err := json.Marshal(p)
		if err == nil {
			err = os.WriteFile(path, text, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	if out := b.must("exec", "--process", write(), b.id); out != "7 8 [] /etc\n" {
		t.Errorf("%q", out)
	}
	p.Args = []string{bundletest.Program, "read-file", "/proc/self/status"}
	if out := b.must("exec", "-p", write(), b.id); !strings.Contains(out, "Cpus_allowed_list:\t0\n") {
		t.Errorf("%s", out)
	}
	p.Cwd = "etc"
	b.fails(`process.cwd: "etc": want an absolute path`, "exec", "-p", write(), b.id)
}

func TestExecInAPausedContainer(t *testing.T) {
	b := running(t)
	b.must("pause", b.id)
	b.fails("cannot exec in a paused container (use --ignore-paused to override)", "exec", b.id, bundletest.Program, "exit", "0")
	b.must("resume", b.id)
	b.must("exec", b.id, bundletest.Program, "exit", "0")
}

func TestExecInACgroupBelow(t *testing.T) {
	b := running(t)
	b.fails("no cgroup", "exec", "--cgroup", "below", b.id, bundletest.Program)
	for _, pattern := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
		dirs, _ := filepath.Glob(pattern + b.spec.Linux.CgroupsPath)
		for _, dir := range dirs {
			if err := os.Mkdir(dir+"/below", 0o755); err != nil {
				t.Fatal(err)
			}
			for _, file := range []string{"cpuset.cpus", "cpuset.mems"} { // empty on v1: nobody may enter
				if all, err := os.ReadFile(dir + "/" + file); err == nil {
					os.WriteFile(dir+"/below/"+file, all, 0)
				}
			}
		}
	}
	b.fails("invalid --cgroup argument: below (missing <controller>: prefix)", "exec", "--cgroup", "below", "--cgroup", "cpu:below", b.id, bundletest.Program)
	b.fails("bad sub cgroup path: .. is not a sub cgroup path", "exec", "--cgroup", "..", b.id, bundletest.Program)
	b.fails("process args cannot be empty", "exec", b.id)
	b.fails("unable to stat preserved-fd 0 (of 1)", "exec", "--preserve-fds", "1", b.id, bundletest.Program)
	if mode, err := cgroups.Detect(); err == nil && mode != cgroups.V2 {
		out := b.must("exec", "--cgroup", "memory:below", "--cgroup", "cpu,pids:below", b.id, bundletest.Program, "read-file", "/proc/self/cgroup")
		for line := range strings.Lines(out) {
			_, rest, _ := strings.Cut(line, ":")
			controller, path, _ := strings.Cut(strings.TrimSpace(rest), ":")
			if want := slices.Contains([]string{"memory", "cpu", "pids"}, controller); want != strings.HasSuffix(path, "/below") {
				t.Errorf("%s", line)
			}
		}
	}
	out := b.must("exec", "--cgroup", "below", b.id, bundletest.Program, "read-file", "/proc/self/cgroup")
	for line := range strings.Lines(out) {
		if !strings.HasSuffix(line, "/below\n") {
			t.Errorf("%s", line)
		}
	}
}

func TestExecWithATerminal(t *testing.T) {
	b := running(t)
	master, slave := newPTY(t)
	if err := unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 1}); err != nil {
		t.Fatal(err)
	}
	c := b.command("exec", "--tty", b.id, bundletest.Program, "sizes")
	c.Stdin, c.Stdout, c.Stderr = slave, slave, slave
	if err := c.Run(); err != nil {
		t.Error(err)
	}
	buf := make([]byte, 100)
	if n, err := master.Read(buf); err != nil || string(buf[:n]) != "1x24\r\n" {
		t.Errorf("%q, %v", buf[:n], err)
	}

	path := filepath.Join(b.dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b.fails("without setting console socket", "exec", "--tty", "--detach", b.id, bundletest.Program, "sizes")
	b.must("exec", "--tty", "--detach", "--console-socket", path, b.id, bundletest.Program, "sleep")
	conn, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	rights := make([]byte, unix.CmsgSpace(4))
	if _, n, _, _, err := conn.ReadMsgUnix(buf, rights); err != nil || n == 0 {
		t.Errorf("no terminal came: %v", err)
	}
}
