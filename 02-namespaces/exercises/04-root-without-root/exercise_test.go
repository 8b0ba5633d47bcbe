//go:build linux && (exercise || solution)

package asroot

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"drydock.example/01-chroot/hosttest"
)

// envOrdinary is set in the child that calls AsRoot as an ordinary user.
const envOrdinary = "EXERCISE_ORDINARY"

const look = `id -u; grep CapEff /proc/self/status; hostname exercise && cat /proc/sys/kernel/hostname; cat /proc/self/uid_map; cat /proc/self/setgroups`

func TestMain(m *testing.M) {
	if os.Getenv(envOrdinary) != "" {
		out, err := AsRoot("/bin/sh", "-c", look)
		if err != nil {
			fmt.Println("AsRoot:", err)
		}
		fmt.Print(out)
		os.Exit(0)
	}
	os.Exit(hosttest.Run(m))
}

func TestAsRoot(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.UserNamespaces, hosttest.Program("hostname"))
	before, _ := os.Hostname()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), envOrdinary+"=1")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 42424, Gid: 42424}}
	b, err := cmd.CombinedOutput()
	out := string(b)
	if err != nil || strings.HasPrefix(out, "AsRoot:") {
		t.Fatalf("%v %s", err, out)
	}
	lines := strings.Split(out, "\n")
	if lines[0] != "0" {
		t.Errorf("the program is user %s: which id inside is yours outside?", lines[0])
	}
	if len(lines) < 2 || strings.HasSuffix(lines[1], "\t0000000000000000") {
		t.Errorf("the program has no capabilities: they go at execve, unless it is root by then:\n%s", out)
	}
	if !strings.Contains(out, "\nexercise\n") {
		t.Errorf("the program could not set the host name: a name belongs to a UTS namespace, and that to a user namespace. Whose?\n%s", out)
	}
	if !strings.Contains(strings.Join(strings.Fields(out), " "), "0 42424 1 deny") {
		t.Errorf("want the map \"0 42424 1\" and setgroups denied:\n%s", out)
	}
	if after, _ := os.Hostname(); after != before {
		t.Errorf("the host is called %q now", after)
	}
}
