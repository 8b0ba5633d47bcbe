//go:build linux

package namespaces

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/doctor"
	"drydock.example/01-chroot/hosttest"
)

func init() {
	roles["doctor-no-more"] = func() error {
		if err := os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0); err != nil {
			return err
		}
		fmt.Println(checkUser(context.Background()))
		return nil
	}
	roles["doctor-nobody"] = func() error {
		for _, c := range Checks() {
			fmt.Println(c.Name+":", c.Run(context.Background()).Status)
		}
		return nil
	}
	roles["doctor-nested"] = func() error {
		fmt.Println(checkUser(context.Background()))
		return nil
	}
}

// answer compares a result's status and what it found, and wants a cure with part.
func answer(t *testing.T, r doctor.Result, status doctor.Status, found, part string) {
	t.Helper()
	if r.Status != status || r.Found != found {
		t.Errorf("%s, %q: want %s, %q", r.Status, r.Found, status, found)
	}
	if part != "" && !slices.ContainsFunc(r.Cure, func(s string) bool { return strings.Contains(s, part) }) {
		t.Errorf("the cures of %q are %q: want one with %q", r.Found, r.Cure, part)
	}
	if r.Status != doctor.OK && r.Status != doctor.Unknown && (r.Why == "" || len(r.Cure) == 0) {
		t.Errorf("%q says neither why nor the cure: %+v", r.Found, r)
	}
}

// Whoever reads this has a machine on which the chapter's tests run, so the
// checks of what they need must say so.
func TestDoctorFindsThisMachineFit(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	for _, c := range Checks() {
		if c.Chapter != 2 || c.Name == "" || c.For == "" {
			t.Errorf("check %+v", c)
		}
		if r := c.Run(t.Context()); r.Status == doctor.Missing || r.Status == doctor.Unknown {
			t.Errorf("%s: %+v", c.Name, r)
		}
	}
}

func TestDoctorOfAnOrdinaryUser(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	out := started(t, "doctor-nobody", nobody)
	for _, line := range []string{"namespaces: unknown", "pivot_root: unknown", "system calls: ok", "subordinate ids: limited", "seccomp: ok"} {
		if !strings.Contains(out+"\n", line+"\n") {
			t.Errorf("want %q in\n%s", line, out)
		}
	}
}

func TestDoctorOnUserNamespaces(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.UserNamespaces)
	t.Run("none are allowed", func(t *testing.T) {
		out := started(t, "doctor-no-more", inUserNamespace(0))
		for _, part := range []string{"no space left on device", "user.max_user_namespaces is 0", "sudo sysctl -w user.max_user_namespaces=15000"} {
			if !strings.Contains(out, part) {
				t.Errorf("want %q in %s", part, out)
			}
		}
	})
	t.Run("one within another", func(t *testing.T) {
		if out := started(t, "doctor-nested", inUserNamespace(0)); !strings.HasPrefix(out, "{ok work") {
			t.Errorf("%s", out)
		}
	})
	settings := func(set ...string) []block {
		return blocks(func(key string) string {
			for i := 0; i < len(set); i += 2 {
				if set[i] == key {
					return set[i+1]
				}
			}
			return ""
		})
	}
	const apparmor = "kernel.apparmor_restrict_unprivileged_userns"
	const debian = "kernel.unprivileged_userns_clone"
	answer(t, userFound(0, unix.ENOENT, settings(apparmor, "0", debian, "1")), doctor.OK, "work, for ordinary users too", "")
	answer(t, userFound(0, unix.ENOENT, settings(apparmor, "1")), doctor.Limited,
		"root may make them, ordinary users may not; "+apparmor+" is 1", "sudo sysctl -w "+apparmor+"=0")
	// AppArmor lets the namespace be made, and takes the capabilities in it.
	answer(t, userFound(1000, unix.EPERM, settings(apparmor, "1")), doctor.Limited,
		"a process in a new one: operation not permitted; "+apparmor+" is 1", "sudo sysctl -w "+apparmor+"=0")
	answer(t, userFound(1000, unix.EPERM, settings(debian, "0")), doctor.Limited,
		"a process in a new one: operation not permitted; "+debian+" is 0", "sudo sysctl -w "+debian+"=1")
	answer(t, userFound(1000, unix.ENOENT, settings(apparmor, "1")), doctor.OK, "work for this program", "")
	answer(t, userFound(1000, unix.EPERM, nil), doctor.Limited, "a process in a new one: operation not permitted", "seccomp=unconfined")
	answer(t, userFound(0, unix.EINVAL, nil), doctor.Limited, "a process in a new one: invalid argument", "distribution's kernel")
	answer(t, userFound(0, unix.ENOSPC, nil), doctor.Limited, "a process in a new one: no space left on device", "lsns -t user")
}

func TestDoctorOnPivotRoot(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	answer(t, pivoted(0, nil), doctor.OK, "works", "")
	// A directory that is no mount makes the call say what an initramfs makes it say.
	err := doctor.Apart(t.Context(), unix.CLONE_NEWNS, func() error {
		return os.NewSyscallError("pivot_root", unix.PivotRoot("/proc/sys", "/proc/sys"))
	})
	answer(t, pivoted(0, err), doctor.Missing, "pivot_root: invalid argument", "switch_root")
	answer(t, pivoted(0, unix.EPERM), doctor.Missing, "operation not permitted", "docker run --privileged")
	answer(t, pivoted(1000, unix.EPERM), doctor.Unknown, "not root: it cannot be tried", "sudo")
}

func TestDoctorOnWhatAKernelLacks(t *testing.T) {
	answer(t, checkCalls([]systemCall{{"openat2", "5.6", unix.SYS_OPENAT2}, {"tomorrow", "9.9", 4000}}), doctor.Missing,
		"ENOSYS from tomorrow (Linux 9.9)", "uname -r")
	answer(t, namespacesFound([]string{"pid: invalid argument"}), doctor.Missing, "pid: invalid argument", "docker run --privileged")
	answer(t, noTime(errors.New("unshare(CLONE_NEWTIME): invalid argument")), doctor.Limited, "unshare(CLONE_NEWTIME): invalid argument", "distribution's kernel")
	answer(t, seccompFound(unix.EINVAL, false), doctor.Limited, "seccomp: invalid argument", "distribution's kernel")
	answer(t, seccompFound(unix.EFAULT, true), doctor.OK, "works; this process is filtered already, as in a container", "")
}

func TestDoctorOnSubordinateIDs(t *testing.T) {
	const file = "ada:100000:65536\n1001:165536:65536\n"
	for _, c := range []struct {
		name, uid string
		want      bool
	}{{"ada", "1000", true}, {"grace", "1001", true}, {"linus", "1002", false}} {
		if got := hasRange(file, c.name, c.uid); got != c.want {
			t.Errorf("hasRange of %s: %v", c.name, got)
		}
	}
	answer(t, subordinateFound("linus", []string{"no range in /etc/subuid"}), doctor.Limited, "no range in /etc/subuid", "--add-subuids 100000-165535")
	answer(t, subordinateFound("ada", nil), doctor.OK, "newuidmap and newgidmap, and ranges for ada", "")
}
