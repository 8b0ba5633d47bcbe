//go:build linux

package namespaces

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/hosttest"
)

// asUser is the command isolate, run by an ordinary user, and a root file
// system that is his.
func asUser(t *testing.T, uid uint32) (isolate func(args ...string) *exec.Cmd, root string) {
	t.Helper()
	hosttest.Require(t, hosttest.Root, hosttest.UserNamespaces)
	root = newRoot(t)
	openToAll(t, root)
	for _, dir := range []string{"", "proc", "dev", "sys"} {
		if err := os.Chown(filepath.Join(root, dir), int(uid), int(uid)); err != nil {
			t.Fatal(err)
		}
	}
	bin := isolateProgram(t)
	return func(args ...string) *exec.Cmd {
		cmd := exec.Command(bin, args...)
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		return cmd
	}, root
}

func seen(t *testing.T, cmd *exec.Cmd) view {
	t.Helper()
	out, err := cmd.CombinedOutput()
	var v view
	if err == nil {
		err = json.Unmarshal(out, &v)
	}
	if err != nil {
		t.Fatalf("%q: %v: %s", cmd.Args, err, out)
	}
	return v
}

func fields(s string) string { return strings.Join(strings.Fields(s), " ") }

func TestRootless(t *testing.T) {
	isolate, root := asUser(t, hosttest.Ordinary)
	v := seen(t, isolate("--hostname", "mine", root, "probe"))
	if v.UID != 0 || v.GID != 0 || fields(v.UIDMap) != fmt.Sprintf("0 %d 1", hosttest.Ordinary) {
		t.Errorf("uid %d gid %d map %q", v.UID, v.GID, v.UIDMap)
	}
	host := namespacesOf(t, os.Getpid())
	for _, file := range []string{"user", "mnt", "uts", "ipc", "pid", "net", "cgroup"} {
		if v.Namespaces[file] == host[file] {
			t.Errorf("it is in the host's %s namespace", file)
		}
	}
	if v.Hostname != "mine" || v.Pid != 1 || strings.Join(v.Root, " ") != "bin dev proc sys" {
		t.Errorf("hostname %q pid %d root %q", v.Hostname, v.Pid, v.Root)
	}
	for _, mount := range []string{" /proc ", " /dev/pts ", " /sys ", " /dev/null "} {
		if !strings.Contains(v.Mountinfo, mount) {
			t.Errorf("nothing is mounted on %s:\n%s", mount, v.Mountinfo)
		}
	}
	// What root makes inside belongs to the user outside.
	if out, err := isolate(root, "probe", "write", "/file").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var st unix.Stat_t
	if err := unix.Stat(root+"/file", &st); err != nil || st.Uid != hosttest.Ordinary {
		t.Errorf("the file belongs to %d (%v), want %d", st.Uid, err, hosttest.Ordinary)
	}
	cmd := isolate(root, "probe", "exit", "7")
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != 7 {
		t.Errorf("%v, want status 7", err)
	}
}

func TestRootlessTimeNamespace(t *testing.T) {
	hosttest.Require(t, hosttest.TimeNamespaces)
	isolate, root := asUser(t, hosttest.Ordinary)
	out, err := isolate("--time", "24h", root, "probe").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "made before the user namespace, with the caller's own privilege: unshare(CLONE_NEWTIME): operation not permitted") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestJoinRootless(t *testing.T) {
	isolate, root := asUser(t, hosttest.Ordinary)
	cmd := isolate(root, "probe", "wait")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer stdin.Close()
	if _, err := stdout.Read(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
	list, err := List()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(list, func(ns Namespace) bool { return ns.Kind == "user" && ns.Command == "probe wait" })
	if i < 0 {
		t.Fatalf("the container is not listed: %v", list)
	}
	pid := list[i].Pid
	v := seen(t, isolate("--join", itoa(pid), "probe"))
	for file, want := range namespacesOf(t, pid) {
		if v.Namespaces[file] != want {
			t.Errorf("%s namespace %s, want %s", file, v.Namespaces[file], want)
		}
	}
	if v.UID != 0 {
		t.Errorf("uid %d", v.UID)
	}
	other := isolate("--join", itoa(pid), "probe")
	other.SysProcAttr.Credential.Uid++
	if out, err := other.CombinedOutput(); err == nil || !strings.Contains(string(out), "permission denied") {
		t.Errorf("another user: %v: %s", err, out)
	}
}

// TestSubordinateIDs gives the user nobody, for the time of the test and in its
// own mount namespace, ids of /etc/subuid.
func TestSubordinateIDs(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.Program("newuidmap"), hosttest.Program("newgidmap"))
	const user = 65534
	isolate, root := asUser(t, user)
	for _, file := range []string{"/etc/subuid", "/etc/subgid"} {
		if _, err := os.Stat(file); err != nil {
			t.Skipf("the package uidmap makes %s: %v", file, err)
		}
		given := filepath.Join(t.TempDir(), "given")
		if err := os.WriteFile(given, []byte("somebody:1:1\n"+userName(user)+":300000:65536\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount(given, file, "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Unmount(file, 0) })
	}
	v := seen(t, isolate(root, "probe"))
	if got, want := fields(v.UIDMap), "0 65534 1 1 300000 65536"; got != want {
		t.Errorf("uid_map is %q, want %q", got, want)
	}
	// Group 5, tty, exists now, so the terminals can belong to it.
	if !strings.Contains(v.Mountinfo, "gid=300004") {
		t.Errorf("devpts has not the group that was asked for:\n%s", v.Mountinfo)
	}
}

func TestSubordinateFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "subuid")
	if m, err := subordinate(file, 1000); m != nil || err != nil {
		t.Errorf("no file: %v %v", m, err)
	}
	text := "# a comment\n1000:200000:10\nother:5:5\n" + userName(0) + ":1:1\n1000:400000:20\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	m, err := subordinate(file, 1000)
	want := []specs.LinuxIDMapping{{ContainerID: 1, HostID: 200000, Size: 10}, {ContainerID: 11, HostID: 400000, Size: 20}}
	if err != nil || !slices.Equal(m, want) {
		t.Errorf("%v %v, want %v", m, err, want)
	}
	os.WriteFile(file, []byte("1000:many:10\n"), 0o644)
	if _, err := subordinate(file, 1000); err == nil || !strings.Contains(err.Error(), `subuid:1: "1000:many:10" is not USER:FIRST:COUNT`) {
		t.Errorf("a bad line: %v", err)
	}
}

func TestListNamespaces(t *testing.T) {
	p := running(t, NewSpec(newRoot(t), "probe"))
	list, err := List()
	if err != nil {
		t.Fatal(err)
	}
	for file, link := range namespacesOf(t, p.Pid) {
		i := slices.IndexFunc(list, func(ns Namespace) bool { return fmt.Sprintf("%s:[%d]", ns.Kind, ns.Inode) == link })
		if i < 0 {
			t.Errorf("%s is not listed", link)
			continue
		}
		own := file != "user" && file != "time"
		if ns := list[i]; own && (ns.Processes != 1 || ns.Pid != p.Pid || ns.Command != "probe wait") || !own && ns.Processes < 2 || !ns.Holds(p.Pid) {
			t.Errorf("%s: %+v", link, ns)
		}
	}
}
