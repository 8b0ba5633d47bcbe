//go:build linux

package escape

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"drydock.example/01-chroot/hosttest"
	namespaces "drydock.example/02-namespaces"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

const role = "ESCAPE_TEST_AGENT"

// TestMain does without hosttest: in its cgroup namespace the attack is refused.
func TestMain(m *testing.M) {
	if agent := os.Getenv(role); agent != "" {
		fmt.Println(attack(agent))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// attack is what runs in the container: it has the kernel execute agent when
// the last process leaves a cgroup.
func attack(agent string) error {
	dir, err := os.MkdirTemp("", "escape")
	if err != nil {
		return err
	}
	defer os.Remove(dir)
	// A hierarchy of its own, without a controller: every cgroup v1 has the file.
	if err := unix.Mount("cgroup", dir, "cgroup", 0, "none,name=escape"); err != nil {
		return fmt.Errorf("mount cgroup v1: %w", err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	if err := os.WriteFile(dir+"/release_agent", []byte(agent), 0); err != nil {
		return err
	}
	cgroup := dir + "/x"
	if err := os.Mkdir(cgroup, 0o755); err != nil {
		return err
	}
	defer os.Remove(cgroup)
	if err := os.WriteFile(cgroup+"/notify_on_release", []byte("1"), 0); err != nil {
		return err
	}
	// Somebody enters, and ends.
	return exec.Command("/bin/sh", "-c", "echo 0 > "+cgroup+"/cgroup.procs").Run()
}

// agent writes the program that must not run, and returns the directory in
// which it leaves the PID namespace that it ran in.
func agent(t *testing.T) (program, dir string) {
	t.Helper()
	dir = t.TempDir()
	program = filepath.Join(dir, "agent")
	script := "#!/bin/sh\nreadlink /proc/self/ns/pid > " + dir + "/out.new\nmv " + dir + "/out.new " + dir + "/out\n"
	if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return program, dir
}

func requireRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("requires root")
	}
}

func TestReleaseAgentRunsOnTheHost(t *testing.T) {
	requireRoot(t)
	hosttest.Require(t, hosttest.DisposableKernel) // the attack leaves every namespace
	program, dir := agent(t)
	inotify, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(inotify)
	if _, err := unix.InotifyAddWatch(inotify, dir, unix.IN_MOVED_TO); err != nil {
		t.Fatal(err)
	}
	// The naive container: namespaces, and root with all its capabilities.
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), role+"="+program)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWNET, Unshareflags: unix.CLONE_NEWNS}
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "<nil>\n" {
		t.Fatalf("the attack was refused: %v, %s", err, out)
	}
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(inotify), Events: unix.POLLIN}}, int(20*time.Second/time.Millisecond)); err != nil || n == 0 {
		t.Fatalf("the agent did not run: %v", err)
	}
	ran, err := os.ReadFile(dir + "/out")
	host, _ := os.Readlink("/proc/self/ns/pid")
	if err != nil || strings.TrimSpace(string(ran)) != host {
		t.Errorf("it ran in %s, %v; the host is %s", ran, err, host)
	}
}

func TestReleaseAgentIsOutOfReach(t *testing.T) {
	requireRoot(t)
	for name, test := range map[string]struct {
		change func(*specs.Spec)
		want   []string // the first call that the kernel refuses
	}{
		"chapter 2's capabilities": {func(*specs.Spec) {}, []string{"mount cgroup v1: operation not permitted"}},
		"root of a user namespace, with every capability in it": {func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
			s.Linux.UIDMappings = []specs.LinuxIDMapping{{Size: 1 << 16}}
			s.Linux.GIDMappings = s.Linux.UIDMappings
			all := []string{"CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"}
			s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: all, Effective: all, Permitted: all}
			// The hierarchy may be there already; then it is the file that refuses
			// whoever is not root of the machine (since Linux 5.17, for this attack).
		}, []string{"mount cgroup v1: operation not permitted", "release_agent: operation not permitted"}},
	} {
		t.Run(name, func(t *testing.T) {
			program, dir := agent(t)
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			spec := namespaces.NewSpec("/", self)
			spec.Process.Env = append(spec.Process.Env, role+"="+program)
			test.change(spec)
			out, err := os.Create(filepath.Join(t.TempDir(), "said"))
			if err != nil {
				t.Fatal(err)
			}
			defer out.Close()
			p, err := namespaces.Create(t.Context(), spec, namespaces.Options{Stdout: out, Stderr: out, Bound: true})
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := p.Wait(); err != nil {
				t.Fatal(err)
			}
			said, err := os.ReadFile(out.Name())
			if err != nil || !slices.ContainsFunc(test.want, func(want string) bool { return strings.HasSuffix(strings.TrimSpace(string(said)), want) }) {
				t.Errorf("said %q, %v; want %q", said, err, test.want)
			}
			if _, err := os.Stat(dir + "/out"); err == nil {
				t.Error("the agent ran on the host")
			}
		})
	}
}
