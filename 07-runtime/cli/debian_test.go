//go:build linux

package cli_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/hosttest"
)

// debianLayout is the OCI layout that .ci/debian-image makes.
const debianLayout = "/var/cache/drydock/debian"

// A harbour is a host with a registry that holds Debian, a daemon, and another
// host that is one cable away.
type harbour struct {
	t      testing.TB
	daemon *daemon
	image  string
	// near and far are the addresses of this host and of the other one.
	near, far string
	other     int // a process in the other host's network namespace
}

func newHarbour(t testing.TB) *harbour {
	hosttest.Require(t, hosttest.Root, hosttest.Overlay, hosttest.Bridge,
		hosttest.Program("docker-registry"), hosttest.Program("skopeo"), hosttest.Program("ip"), hosttest.Program("nsenter"),
		func() error {
			if _, err := os.Stat(debianLayout); err != nil {
				return fmt.Errorf("a Debian image: run .ci/debian-image %s", debianLayout)
			}
			return nil
		})
	h := &harbour{t: t, image: "127.0.0.1:5000/debian:12", near: "198.51.100.1", far: "198.51.100.2"}
	h.serveRegistry()

	other := exec.Command("sleep", "infinity")
	other.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Process.Kill(); other.Wait() })
	h.other = other.Process.Pid
	pid := strconv.Itoa(h.other)
	h.must("ip", "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", pid)
	h.must("ip", "addr", "add", h.near+"/24", "dev", "cable")
	h.must("ip", "link", "set", "cable", "up")
	h.must("nsenter", "-t", pid, "-n", "ip", "addr", "add", h.far+"/24", "dev", "cable")
	h.must("nsenter", "-t", pid, "-n", "ip", "link", "set", "cable", "up")
	t.Cleanup(func() { exec.Command("ip", "link", "del", "cable").Run() })

	h.startDaemon(t.TempDir())
	t.Cleanup(func() {
		if err := h.daemon.stop(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func (h *harbour) startDaemon(dir string) {
	h.t.Helper()
	d, err := start(dir)
	if err != nil {
		h.t.Fatal(err)
	}
	h.daemon = d
}

// serveRegistry starts Debian's docker-registry and copies the image into it.
func (h *harbour) serveRegistry() {
	h.t.Helper()
	dir := h.t.TempDir()
	config := fmt.Sprintf("version: 0.1\nlog: {level: warn}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: 127.0.0.1:5000}\n", dir)
	if err := os.WriteFile(dir+"/config.yml", []byte(config), 0o644); err != nil {
		h.t.Fatal(err)
	}
	registry := exec.Command("docker-registry", "serve", dir+"/config.yml")
	registry.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	if err := registry.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { registry.Process.Kill(); registry.Wait() })
	h.eventually("the registry answers", func() bool {
		resp, err := http.Get("http://127.0.0.1:5000/v2/")
		if err == nil {
			resp.Body.Close()
		}
		return err == nil
	})
	h.must("skopeo", "copy", "-q", "--dest-tls-verify=false", "oci:"+debianLayout+":12", "docker://"+h.image)
}

// must runs a program of the host's.
func (h *harbour) must(name string, args ...string) string {
	h.t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		h.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// drydock runs the client and returns what it printed and its exit status.
func (h *harbour) drydock(args ...string) (stdout, stderr string, status int) {
	h.t.Helper()
	bin, err := programs()
	if err != nil {
		h.t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(bin, "drydock"), append([]string{"-H", h.daemon.host}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		h.t.Fatal(err)
	}
	return strings.TrimSpace(out.String()), strings.TrimSpace(errs.String()), cmd.ProcessState.ExitCode()
}

// ok runs the client, which must succeed.
func (h *harbour) ok(args ...string) string {
	h.t.Helper()
	out, errs, status := h.drydock(args...)
	if status != 0 {
		h.t.Fatalf("drydock %s: status %d\n%s\n%s", strings.Join(args, " "), status, out, errs)
	}
	return out
}

// pid returns the process id, on the host, of a container's first process.
func (h *harbour) pid(name string) int {
	h.t.Helper()
	pid, err := strconv.Atoi(h.ok("inspect", "-f", "{{.State.Pid}}", name))
	if err != nil || pid == 0 {
		h.t.Fatalf("pid of %s: %d %v", name, pid, err)
	}
	return pid
}

// cgroup returns the content of a file of the container's cgroup, from the
// host: with v1, of the hierarchy of the controller.
func (h *harbour) cgroup(pid int, controller, v1File, v2File string) string {
	h.t.Helper()
	list, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(list)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		file := ""
		switch {
		case f[1] == controller:
			file = filepath.Join("/sys/fs/cgroup", controller, f[2], v1File)
		case f[1] == "" && hosttest.CgroupV2() == nil:
			file = filepath.Join("/sys/fs/cgroup", f[2], v2File)
		}
		if b, err := os.ReadFile(file); err == nil {
			return strings.TrimSpace(string(b))
		}
	}
	return ""
}

// eventually waits for something that the kernel or a program will show, and
// has no event for.
func (h *harbour) eventually(what string, ok func() bool) {
	h.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			h.t.Fatalf("not within 30 s: %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// onOther calls do on a thread in the other host's network namespace.
func (h *harbour) onOther(do func() error) {
	h.t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/net", h.other), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Setns(fd, unix.CLONE_NEWNET)
			unix.Close(fd)
		}
		if err == nil {
			err = do()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		h.t.Fatal(err)
	}
}

// ask sends a line to a TCP server and returns its answer.
func ask(address string) (string, error) {
	c, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	b, err := io.ReadAll(c)
	return strings.TrimSpace(string(b)), err
}

// server is a Perl program that answers each caller at port 8080.
const server = `use IO::Socket::INET; $| = 1; $s = IO::Socket::INET->new(Listen => 9, LocalPort => 8080, ReuseAddr => 1) or die $!; print "listening\n";
while ($c = $s->accept) { print $c "aboard\n"; print "caller " . $c->peerhost . "\n"; close $c }`

// TestDebian takes a real Debian from a real registry and shows, from outside,
// what a container is.
func TestDebian(t *testing.T) {
	h := newHarbour(t)
	at := func(name string, test func(h *harbour)) bool {
		return t.Run(name, func(t *testing.T) {
			sub := *h
			sub.t = t
			test(&sub)
			h.daemon = sub.daemon
		})
	}
	if !at("pull", func(h *harbour) {
		out := h.ok("pull", h.image)
		for _, want := range []string{"Pulling from debian", "Pull complete", "Digest: sha256:", "Status: Downloaded newer image for " + h.image} {
			if !strings.Contains(out, want) {
				h.t.Errorf("%q is not in\n%s", want, out)
			}
		}
		if out := h.ok("pull", h.image); !strings.Contains(out, "Status: Image is up to date for "+h.image) {
			h.t.Errorf("the second time:\n%s", out)
		}
	}) {
		t.FailNow()
	}
	run := func(h *harbour, args ...string) (string, string, int) {
		return h.drydock(append([]string{"run", "--rm"}, args...)...)
	}

	at("layers", func(h *harbour) {
		out, errs, _ := run(h, h.image, "bash", "-c", "cat /srv/app/second; ls /srv/app; echo $LAYERS; cut -c1-3 /etc/debian_version")
		if want := "from the third layer\nsecond\nseveral\n12."; out != want {
			h.t.Errorf("got %q %s, want %q", out, errs, want)
		}
	})

	at("isolated", func(h *harbour) {
		h.ok("run", "-d", "--name", "ship", "--hostname", "ship", "-m", "64m", "--cpus", "0.5", "--pids-limit", "64", "-p", "18080:8080", h.image, "perl", "-e", server)
		pid := h.pid("ship")
		for _, kind := range []string{"pid", "mnt", "uts", "ipc", "net", "cgroup"} {
			ours, err := os.Readlink("/proc/self/ns/" + kind)
			if err != nil {
				h.t.Fatal(err)
			}
			theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
			if err != nil || theirs == ours {
				h.t.Errorf("%s namespace: %s, the host's is %s (%v)", kind, theirs, ours, err)
			}
		}
		if name := h.must("nsenter", "-t", strconv.Itoa(pid), "-u", "hostname"); name != "ship" {
			h.t.Errorf("its host name is %q", name)
		}
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if !strings.Contains(string(status), "NSpid:\t"+strconv.Itoa(pid)+"\t1\n") {
			h.t.Errorf("it is not process 1 of its own:\n%s", status)
		}
		mounts, _ := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
		for line := range strings.Lines(string(mounts)) {
			f := strings.Fields(line)
			if point := f[4]; point == "/" && !strings.Contains(line, " - overlay ") {
				h.t.Errorf("its root is no overlay: %s", line)
			} else if first := strings.Split(point, "/")[1]; first != "" && first != "proc" && first != "dev" && first != "sys" && first != "etc" {
				h.t.Errorf("a mount of the host: %s", line)
			}
		}
		if list, _, _ := run(h, h.image, "bash", "-c", "cd /proc; echo [0-9]*"); list != "1" {
			h.t.Errorf("its process table: %q", list)
		}
		marker := filepath.Join(h.daemon.dir, "marker")
		if err := os.WriteFile(marker, nil, 0o644); err != nil {
			h.t.Fatal(err)
		}
		if _, _, status := run(h, h.image, "test", "-e", marker); status != 1 {
			h.t.Errorf("a file of the host is seen inside (status %d)", status)
		}
	})

	at("limited: memory", func(h *harbour) {
		_, _, status := h.drydock("run", "--name", "greedy", "-m", "64m", h.image, "perl", "-e", `$x = "x" x (1 << 20) for 1; push @a, "y" x (1 << 20) for 1 .. 300; print "done\n"`)
		if oom := h.ok("inspect", "-f", "{{.State.OOMKilled}}", "greedy"); status != 137 || oom != "true" {
			h.t.Errorf("status %d, OOMKilled %s", status, oom)
		}
		h.ok("rm", "greedy")
	})

	at("limited: processes", func(h *harbour) {
		h.ok("run", "-d", "--name", "bomb", "--pids-limit", "64", h.image, "bash", "-c", `b() { b | b & }; b; sleep 1000`)
		pid := h.pid("bomb")
		h.eventually("the limit stops a fork", func() bool {
			events := h.cgroup(pid, "pids", "pids.events", "pids.events")
			return strings.HasPrefix(events, "max ") && events != "max 0"
		})
		if n, _ := strconv.Atoi(h.cgroup(pid, "pids", "pids.current", "pids.current")); n > 64 {
			h.t.Errorf("%d processes", n)
		}
		h.ok("rm", "-f", "bomb")
		if err := unix.Kill(pid, 0); err != unix.ESRCH {
			h.t.Errorf("after rm -f: %v", err)
		}
	})

	at("limited: to one process", func(h *harbour) {
		h.ok("run", "-d", "--name", "alone", "--pids-limit", "1", h.image, "sleep", "1000")
		if limit := h.cgroup(h.pid("alone"), "pids", "pids.max", "pids.max"); limit != "1" {
			h.t.Errorf("its limit is %q", limit)
		}
		h.ok("rm", "-f", "alone")
	})

	at("limited: processor", func(h *harbour) {
		h.ok("run", "-d", "--name", "busy", "--cpus", "0.25", h.image, "bash", "-c", "while :; do :; done")
		pid := h.pid("busy")
		h.eventually("it is throttled", func() bool {
			for line := range strings.Lines(h.cgroup(pid, "cpu", "cpu.stat", "cpu.stat") + "\n") {
				if n, ok := strings.CutPrefix(strings.TrimSpace(line), "nr_throttled "); ok && n != "0" {
					return true
				}
			}
			return false
		})
		h.ok("rm", "-f", "busy")
	})

	at("connected", func(h *harbour) {
		h.eventually("the server listens", func() bool { return strings.Contains(h.ok("logs", "ship"), "listening") })
		for _, address := range []string{"127.0.0.1:18080", h.near + ":18080"} {
			if answer, err := ask(address); answer != "aboard" {
				h.t.Errorf("from the host, %s: %q %v", address, answer, err)
			}
		}
		h.onOther(func() error {
			answer, err := ask(h.near + ":18080")
			if answer != "aboard" {
				h.t.Errorf("from another host: %q %v", answer, err)
			}
			return nil
		})
		if logs := h.ok("logs", "ship"); !strings.Contains(logs, "caller "+h.far) {
			h.t.Errorf("the other host's address is not kept:\n%s", logs)
		}
		var listener net.Listener
		h.onOther(func() (err error) {
			listener, err = net.Listen("tcp", h.far+":9999")
			return err
		})
		defer listener.Close()
		peer := make(chan string, 1)
		go func() {
			if c, err := listener.Accept(); err == nil {
				host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
				fmt.Fprintln(c, "ahoy")
				c.Close()
				peer <- host
			}
		}()
		out, errs, _ := run(h, h.image, "perl", "-e", `use IO::Socket::INET; $s = IO::Socket::INET->new(PeerAddr => "`+h.far+`:9999") or die $!; print <$s>`)
		if out != "ahoy" {
			h.t.Fatalf("the outside is not reached: %q %s", out, errs)
		}
		if host := <-peer; host != h.near {
			h.t.Errorf("the outside saw %s, want the host's address %s", host, h.near)
		}
		if _, errs, status := h.drydock("run", "--rm", "-p", "18080:8080", h.image, "true"); status != 125 || !strings.Contains(errs, "port is already allocated") {
			h.t.Errorf("a port that is in use: %d %s", status, errs)
		}
	})

	at("layered", func(h *harbour) {
		if _, errs, status := run(h, h.image, "bash", "-c", "echo x > /written && rm /etc/debian_version"); status != 0 {
			h.t.Errorf("write: %d %s", status, errs)
		}
		if _, _, status := run(h, h.image, "bash", "-c", "test -e /etc/debian_version && test ! -e /written"); status != 0 {
			h.t.Error("what one container wrote is in the image")
		}
		h.ok("run", "-d", "--name", "second", h.image, "sleep", "1000")
		var inode [2]uint64
		for i, name := range []string{"ship", "second"} {
			var st unix.Stat_t
			if err := unix.Stat(fmt.Sprintf("/proc/%d/root/usr/bin/perl", h.pid(name)), &st); err != nil {
				h.t.Fatal(err)
			}
			inode[i] = st.Ino
		}
		if inode[0] != inode[1] {
			h.t.Errorf("two containers of one image have a file each: inodes %v", inode)
		}
		id := h.ok("inspect", "-f", "{{.Id}}", "second")
		if kib, _ := strconv.Atoi(strings.Fields(h.must("du", "-sk", filepath.Join(h.daemon.dir, "root", "containers", id)))[0]); kib > 100 {
			h.t.Errorf("a container that has written nothing takes %d KiB", kib)
		}
		h.ok("rm", "-f", "second")
	})

	at("the daemon is killed", func(h *harbour) {
		pid := h.pid("ship")
		h.daemon.process.Process.Kill()
		h.daemon.process.Wait()
		if answer, err := ask("127.0.0.1:18080"); answer != "aboard" {
			h.t.Errorf("without the daemon: %q %v", answer, err)
		}
		h.startDaemon(h.daemon.dir)
		if now := h.pid("ship"); now != pid {
			h.t.Errorf("the next daemon finds process %d, want %d", now, pid)
		}
		if answer, err := ask("127.0.0.1:18080"); answer != "aboard" {
			h.t.Errorf("with the next daemon: %q %v", answer, err)
		}
		if logs := h.ok("logs", "ship"); strings.Count(logs, "caller") < 5 {
			h.t.Errorf("its logs:\n%s", logs)
		}
		h.ok("stop", "-t", "1", "ship")
		if state := h.ok("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "ship"); state != "exited 137" {
			h.t.Errorf("stopped: %s", state)
		}
		h.ok("rm", "ship")
	})

	at("refused", func(h *harbour) {
		for _, c := range []struct {
			want   string
			status int
			args   []string
		}{
			{"manifest for 127.0.0.1:5000/nosuch:latest not found", 125, []string{"run", "127.0.0.1:5000/nosuch"}},
			{"127.0.0.1:5999", 1, []string{"pull", "127.0.0.1:5999/debian:12"}},
			{"connection refused", 1, []string{"pull", "127.0.0.1:5999/debian:12"}},
			{"invalid reference format", 125, []string{"run", "No//Such"}},
			{`"nosuch": executable file not found in $PATH`, 127, []string{"run", "--rm", h.image, "nosuch"}},
			{"permission denied", 126, []string{"run", "--rm", h.image, "/etc/passwd"}},
			{"Minimum memory limit allowed is 6MB", 125, []string{"run", "--rm", "-m", "1m", h.image, "true"}},
		} {
			if _, errs, status := h.drydock(c.args...); status != c.status || !strings.Contains(errs, c.want) {
				h.t.Errorf("drydock %s: status %d, want %d; %q is not in\n%s", strings.Join(c.args, " "), status, c.status, c.want, errs)
			}
		}
		if left := h.ok("ps", "-aq"); left != "" {
			h.t.Errorf("left behind: %s", left)
		}
	})
}
