//go:build linux

package namespaces

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/hosttest"
)

// Each test here is an attack of the README: it succeeds against the naive
// program, and fails against this chapter's.

func init() {
	// A host whose mounts are shared, as systemd's are.
	roles["attack-shared-host"] = func() error {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
			return err
		}
		naive := exec.Command("/proc/self/exe")
		naive.Env = append(os.Environ(), envRole+"=attack-mount-proc")
		naive.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID}
		if out, err := naive.CombinedOutput(); err != nil || len(out) > 0 {
			return fmt.Errorf("%w: %s", err, out)
		}
		_, err := os.Readlink("/proc/self")
		fmt.Println("naive:", err)
		if err := unix.Unmount("/proc", 0); err != nil {
			return err
		}
		before, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil {
			return err
		}
		if out, err := exec.Command(os.Getenv("ATTACK_ISOLATE"), os.Getenv("ATTACK_ROOT"), "probe", "exit", "0").CombinedOutput(); err != nil {
			return fmt.Errorf("isolate: %w: %s", err, out)
		}
		after, err := os.ReadFile("/proc/self/mountinfo")
		fmt.Println("ours:", err, string(before) == string(after))
		return nil
	}
	roles["attack-mount-proc"] = func() error { return unix.Mount("proc", "/proc", "proc", 0, "") }

	// A privileged program that maps a user's group and forgets to deny
	// setgroups(2), as newgidmap did before shadow 4.6 (CVE-2018-7169).
	roles["attack-map-group"] = func() error {
		leave := exec.Command("/proc/self/exe")
		leave.Env = append(os.Environ(), envRole+"=attack-leave")
		leave.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:                 unix.CLONE_NEWUSER,
			UidMappings:                []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings:                []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
			GidMappingsEnableSetgroups: true,
		}
		out, err := leave.CombinedOutput()
		fmt.Print(string(out))
		return err
	}
	roles["attack-leave"] = func() error {
		secret := os.Getenv("ATTACK_SECRET")
		_, err := os.ReadFile(secret)
		fmt.Println("before:", errors.Is(err, unix.EACCES))
		if err := syscall.Setgroups(nil); err != nil {
			return err
		}
		b, err := os.ReadFile(secret)
		fmt.Println("after:", string(b), err)
		return nil
	}
}

func TestTheHostsProcSurvives(t *testing.T) {
	root := newRoot(t)
	t.Setenv("ATTACK_ISOLATE", isolateProgram(t))
	t.Setenv("ATTACK_ROOT", root)
	got := started(t, "attack-shared-host", &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS})
	if want := "naive: readlink /proc/self: no such file or directory\nours: <nil> true"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// without returns the spec without its namespaces of these types.
func without(spec *specs.Spec, types ...specs.LinuxNamespaceType) *specs.Spec {
	spec.Linux.Namespaces = slices.DeleteFunc(spec.Linux.Namespaces, func(ns specs.LinuxNamespace) bool { return slices.Contains(types, ns.Type) })
	return spec
}

func TestAKillStaysInItsPIDNamespace(t *testing.T) {
	root := newRoot(t)
	for name, c := range map[string]struct {
		change func(*specs.Spec) *specs.Spec
		errno  string
		dies   bool
	}{
		"naive": {func(s *specs.Spec) *specs.Spec { return without(s, specs.PIDNamespace) }, "", true},
		"ours":  {func(s *specs.Spec) *specs.Spec { return s }, "ESRCH", false},
	} {
		t.Run(name, func(t *testing.T) {
			victim := exec.Command("cat")
			hold, err := victim.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := victim.Start(); err != nil {
				t.Fatal(err)
			}
			spec := c.change(NewSpec(root, "probe", "call", itoa(unix.SYS_KILL), itoa(victim.Process.Pid), itoa(int(unix.SIGKILL))))
			if out, _ := run(t, spec, Options{}); strings.TrimSpace(out) != c.errno {
				t.Errorf("kill: %q, want %q", out, c.errno)
			}
			hold.Close()
			_ = victim.Wait()
			if died := victim.ProcessState.Sys().(syscall.WaitStatus).Signaled(); died != c.dies {
				t.Errorf("the host's process: %v", victim.ProcessState)
			}
		})
	}
}

func TestNobodyLooksIntoAnothersProcess(t *testing.T) {
	hosttest.Require(t, hosttest.UserNamespaces)
	const first, second = 100000, 200000
	as := func(spec *specs.Spec, id uint32) *specs.Spec {
		spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		spec.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: id, Size: 1000}}
		spec.Linux.GIDMappings = spec.Linux.UIDMappings
		return spec
	}
	root := newRoot(t)
	openToAll(t, root)
	if err := os.WriteFile(root+"/secret", []byte("of the first user"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(root+"/secret", first, first); err != nil {
		t.Fatal(err)
	}
	victim := running(t, as(NewSpec(root, "probe"), first))
	// The attacker's root has no such file: there is a way to it only through the victim.
	other := newRoot(t)
	openToAll(t, other)
	read := []string{"probe", "read", "/proc/" + itoa(victim.Pid) + "/root/secret"}
	trace := []string{"probe", "call", itoa(unix.SYS_PTRACE), itoa(unix.PTRACE_SEIZE), itoa(victim.Pid)}
	for name, c := range map[string]struct {
		spec         func(args []string) *specs.Spec
		read, ptrace string
	}{
		"naive: root, with the host's processes and a capability too many": {func(args []string) *specs.Spec {
			spec := without(NewSpec(other, args...), specs.PIDNamespace)
			for _, set := range []*[]string{&spec.Process.Capabilities.Bounding, &spec.Process.Capabilities.Effective, &spec.Process.Capabilities.Permitted} {
				*set = append(slices.Clone(*set), "CAP_SYS_PTRACE")
			}
			return spec
		}, "of the first user", ""},
		"another user, who sees the host's processes": {func(args []string) *specs.Spec {
			spec := as(without(NewSpec(other, args...), specs.PIDNamespace), second)
			// A new proc would show PIDs of a namespace that is not his.
			spec.Mounts[0] = specs.Mount{Destination: "/proc", Source: "/proc", Options: []string{"rbind"}}
			spec.Linux.MaskedPaths, spec.Linux.ReadonlyPaths = nil, nil
			return spec
		}, "permission denied", "EPERM"},
		"ours":                     {func(args []string) *specs.Spec { return as(NewSpec(other, args...), second) }, "no such file or directory", "ESRCH"},
		"ours, as the host's root": {func(args []string) *specs.Spec { return NewSpec(other, args...) }, "no such file or directory", "ESRCH"},
	} {
		t.Run(name, func(t *testing.T) {
			if out, _ := run(t, c.spec(read), Options{}); !strings.HasSuffix(strings.TrimSpace(out), c.read) {
				t.Errorf("read through /proc/PID/root: %q, want %q", out, c.read)
			}
			if out, _ := run(t, c.spec(trace), Options{}); strings.TrimSpace(out) != c.ptrace {
				t.Errorf("ptrace: %q, want %q", out, c.ptrace)
			}
		})
	}
}

// A file that everybody may read but the members of a group: who may leave the
// group may read it.
func TestNobodyLeavesAGroup(t *testing.T) {
	const denied = 5555
	isolate, root := asUser(t, hosttest.Ordinary)
	secret := root + "/secret"
	if err := os.WriteFile(secret, []byte("not for group 5555"), 0o604); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(secret, 0, denied); err != nil {
		t.Fatal(err)
	}
	t.Setenv("ATTACK_SECRET", secret)
	naive := started(t, "attack-map-group", &syscall.SysProcAttr{
		Credential:  &syscall.Credential{Uid: hosttest.Ordinary, Gid: hosttest.Ordinary, Groups: []uint32{denied}},
		AmbientCaps: []uintptr{unix.CAP_SETGID},
	})
	if want := "before: true\nafter: not for group 5555 <nil>"; naive != want {
		t.Errorf("naive: got\n%s\nwant\n%s", naive, want)
	}
	cmd := isolate(root, "probe", "leave", "/secret")
	cmd.SysProcAttr.Credential.Groups = []uint32{denied}
	out, err := cmd.CombinedOutput()
	// setgroups: EPERM
	if want := "setgroups: operation not permitted\nopen /secret: permission denied\n"; err != nil || string(out) != want {
		t.Errorf("ours: %v, got\n%s\nwant\n%s", err, out, want)
	}
}
