//go:build linux

package namespaces

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// envRole names what the test binary does when a test starts it again, in
// namespaces or as a user that the test itself cannot be in.
const envRole = "NAMESPACES_TEST_ROLE"

// roles are added by the init functions of the tests' files.
var roles = map[string]func() error{}

// play runs a role in place of the tests, when there is one.
func play() {
	role, ok := roles[os.Getenv(envRole)]
	if !ok {
		return
	}
	if err := role(); err != nil {
		fmt.Println("error:", err)
	}
	os.Exit(0)
}

// inUserNamespace are new namespaces with root mapped to the caller.
func inUserNamespace(flags uintptr) *syscall.SysProcAttr {
	one := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}}
	return &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | flags, UidMappings: one, GidMappings: one}
}

// nobody is an ordinary user.
var nobody = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}

// started starts a role and returns what it said.
func started(t *testing.T, role string, attr *syscall.SysProcAttr) string {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), envRole+"="+role)
	cmd.SysProcAttr = attr
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", role, err, out)
	}
	return strings.TrimSpace(string(out))
}
