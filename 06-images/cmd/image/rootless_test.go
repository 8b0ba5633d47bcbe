//go:build linux

package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	chroot "drydock.example/01-chroot"
	"drydock.example/01-chroot/hosttest"
)

// noSleep is for -race, with which each of our programs would else sleep a
// second at its end.
const noSleep = "GORACE=atexit_sleep_ms=0"

// user is somebody who is not root, and his home.
type user struct {
	t    *testing.T
	home string
	env  []string
}

func newUser(t *testing.T) *user {
	t.Helper()
	hosttest.Require(t, hosttest.Root, hosttest.UserNamespaces, hosttest.Kernel(5, 11))
	home := hosttest.OpenDir(t)
	if err := os.Chown(home, hosttest.Ordinary, hosttest.Ordinary); err != nil {
		t.Fatal(err)
	}
	return &user{t: t, home: home, env: []string{
		"HOME=" + home, "PATH=" + os.Getenv("PATH"),
		noSleep,
	}}
}

// try runs our program as the user does, and returns all that it says.
func (u *user) try(args ...string) (string, error) {
	cmd := &exec.Cmd{
		Path: "/proc/self/exe", Args: append([]string{program}, args...), Dir: "/", Env: u.env,
		SysProcAttr: &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: hosttest.Ordinary, Gid: hosttest.Ordinary}},
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (u *user) image(args ...string) string {
	u.t.Helper()
	out, err := u.try(args...)
	if err != nil {
		u.t.Fatalf("image %q: %v\n%s", args, err, out)
	}
	return out
}

// layers returns the files of the user's unpacked layers that have the name.
func (u *user) layers(name string) []string {
	u.t.Helper()
	found, err := filepath.Glob(filepath.Join(u.home, ".local/share/drydock-image/layers/*/diff", name))
	if err != nil {
		u.t.Fatal(err)
	}
	return found
}

// subordinateIDs gives the user a name and ids from 700000 on, in this test's
// mount namespace and while it lasts.
func (u *user) subordinateIDs() {
	u.t.Helper()
	hosttest.Require(u.t, hosttest.Program("newuidmap"), hosttest.Program("newgidmap"))
	passwd, err := os.ReadFile("/etc/passwd")
	if err != nil {
		u.t.Fatal(err)
	}
	for file, content := range map[string]string{
		"/etc/passwd": string(passwd) + fmt.Sprintf("ann:x:%d:%[1]d::/:/bin/sh\n", hosttest.Ordinary), // newuidmap wants a name
		"/etc/subuid": "ann:700000:65536\n",
		"/etc/subgid": "ann:800000:65536\n",
	} {
		if _, err := os.Stat(file); err != nil {
			u.t.Skipf("the package uidmap makes %s: %v", file, err)
		}
		given := filepath.Join(u.t.TempDir(), "given")
		if err := os.WriteFile(given, []byte(content), 0o644); err != nil {
			u.t.Fatal(err)
		}
		if err := unix.Mount(given, file, "", unix.MS_BIND, ""); err != nil {
			u.t.Fatal(err)
		}
		u.t.Cleanup(func() {
			if err := unix.Unmount(file, 0); err != nil {
				u.t.Error(err)
			}
		})
	}
}

// share makes an image for everybody, with marks in it, and puts it where the
// user finds it: into a registry, whose name for it is returned, and into an archive. Where
// mail is not "", that file is user 8's and group 12's.
func (s *shell) share(u *user, mail string) (name, archive string) {
	s.t.Helper()
	s.env = []string{noSleep}
	if err := chroot.Build(s.t.Context(), s.path("base"), "/bin/cat", "/bin/sh", "/bin/ls", "/bin/rm", "/bin/chown"); err != nil {
		s.t.Fatal(err)
	}
	s.write("base/etc/passwd", "root:x:0:0:root:/:/bin/sh\n")
	s.write("base/removed", "")
	s.write("base/renewed/below", "")
	s.write("top/.wh.removed", "")
	s.write("top/renewed/.wh..wh..opq", "")
	s.write("top/renewed/above", "")
	s.write("top/motd", "for everybody\n")
	if mail != "" {
		s.write(filepath.Join("top", mail), "")
		if err := os.Chown(s.path(filepath.Join("top", mail)), 8, 12); err != nil {
			s.t.Fatal(err)
		}
	}
	name = s.serve("registry") + "/demo:1"
	s.image("create", "--cmd", "/bin/cat /motd", name, s.path("base"), s.path("top"))
	s.image("push", name)
	archive = filepath.Join(u.home, "demo.tar")
	s.image("save", "-o", archive, name)
	if err := os.Chown(archive, hosttest.Ordinary, hosttest.Ordinary); err != nil {
		s.t.Fatal(err)
	}
	return name, archive
}

// TestOrdinaryUser: an ordinary user with no id but his own has a store, and
// whatever is in it is his.
func TestOrdinaryUser(t *testing.T) {
	u, s := newUser(t), newShell(t)
	name, archive := s.share(u, "")
	u.image("pull", name)
	if out := u.image("run", name); out != "for everybody\n" {
		t.Errorf("run says %q", out)
	}
	// The marks hide what lies below them, and are those that he may write.
	if out := u.image("run", name, "/bin/sh", "-c", "echo /r*/*; echo /r*; read map < /proc/self/uid_map; echo $map"); out != fmt.Sprintf("/renewed/above\n/renewed\n0 %d 1\n", hosttest.Ordinary) {
		t.Errorf("in the container: %s", out)
	}
	var value [1]byte
	opaque := u.layers("renewed/above")
	if len(opaque) != 1 {
		t.Fatalf("layers with the file above: %v", opaque)
	}
	if _, err := unix.Getxattr(filepath.Dir(opaque[0]), "user.overlay.opaque", value[:]); err != nil || value[0] != 'y' {
		t.Errorf("user.overlay.opaque is %q, %v", value, err)
	}
	// A container writes, removes and ends; the image is as it was.
	u.image("run", name, "/bin/sh", "-c", "echo mine > /motd; rm /renewed/above; echo > /new")
	if out := u.image("run", name, "/bin/ls", "/renewed", "/motd"); !strings.Contains(out, "above") {
		t.Errorf("another container finds %s", out)
	}
	if status := exit(u.try("run", name, "/bin/sh", "-c", "exit 3")); status != 3 {
		t.Errorf("status %d, want 3", status)
	}
	// Everything else that one does with images.
	if out := u.image("ls"); !strings.Contains(out, name) {
		t.Errorf("ls says %s", out)
	}
	saved, exported := filepath.Join(u.home, "saved.tar"), filepath.Join(u.home, "exported.tar")
	u.image("save", "-o", saved, name)
	u.image("export", "-o", exported, name)
	if out := u.image("import", "--cmd", "/bin/cat /motd", exported, "flat"); !strings.HasPrefix(out, "sha256:") {
		t.Errorf("import says %q", out)
	}
	if out := u.image("run", "flat"); out != "for everybody\n" {
		t.Errorf("what was exported and imported says %q", out)
	}
	u.image("tag", name, strings.Replace(name, "demo:1", "his:1", 1))
	u.image("push", strings.Replace(name, "demo:1", "his:1", 1))
	err := filepath.WalkDir(u.home, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil || st.Uid != hosttest.Ordinary || st.Gid != hosttest.Ordinary {
			t.Errorf("%s belongs to %d:%d (%v)", path, st.Uid, st.Gid, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	u.image("rm", name, strings.Replace(name, "demo:1", "his:1", 1), "flat")
	if left := u.layers(""); len(left) > 0 {
		t.Errorf("layers of no image: %v", left)
	}
	// An archive, into a store in another place, and what he saved is as good.
	u.env = append(u.env, "XDG_DATA_HOME="+u.home+"/data")
	for _, file := range []string{archive, saved} {
		if out := u.image("load", file); out != "Loaded image: "+name+"\n" {
			t.Errorf("load %s says %s", file, out)
		}
	}
	if _, err := os.Stat(u.home + "/data/drydock-image/images.db"); err != nil {
		t.Error(err)
	}
	if out := u.image("run", name); out != "for everybody\n" {
		t.Errorf("run says %q", out)
	}
}

// TestOrdinaryUserAndFilesOfOthers: without an id for the owner of a file there
// is no image, and with one the owner is kept.
func TestOrdinaryUserAndFilesOfOthers(t *testing.T) {
	u, s := newUser(t), newShell(t)
	// Packed by root of the host, to whom the owner is a number like any other.
	name, archive := s.share(u, "mail")
	for _, args := range [][]string{{"pull", name}, {"load", archive}} {
		out, err := u.try(args...)
		if err == nil || !strings.Contains(out, `unpack "mail": chown 8:12: this user namespace has no such id: give the user more in /etc/subuid`) {
			t.Errorf("%q: %v: %s", args, err, out)
		}
	}
	if out := u.image("ls"); strings.Count(out, "\n") != 1 || len(u.layers("mail")) > 0 {
		t.Errorf("a refused image is here: %s", out)
	}

	u.subordinateIDs()
	u.image("load", archive)
	if out := u.image("run", name, "/bin/sh", "-c", "ls -ln /mail; read map < /proc/self/gid_map; echo $map; chown 33:33 /motd && ls -ln /motd"); !strings.Contains(out, " 8 12 ") || !strings.Contains(out, " 33 33 ") || !strings.Contains(out, fmt.Sprintf("\n0 %d 1\n", hosttest.Ordinary)) {
		t.Errorf("in the container: %s", out)
	}
	var st unix.Stat_t
	if found := u.layers("mail"); len(found) != 1 || unix.Stat(found[0], &st) != nil || st.Uid != 700007 || st.Gid != 800011 {
		t.Errorf("on the disk: %v belongs to %d:%d, want 700007:800011", found, st.Uid, st.Gid)
	}
	// The owner goes out again as it came in, and what is the ids' can be removed.
	u.image("export", "-o", u.home+"/exported.tar", name)
	s.image("import", u.home+"/exported.tar", "again")
	if out := s.image("run", "again", "/bin/ls", "-ln", "/mail"); !strings.Contains(out, " 8 12 ") {
		t.Errorf("exported: %s", out)
	}
	// Who has other ids now would find the files of strangers. More ids do no harm.
	for _, c := range []struct{ ids, want string }{
		{"ann:700000:70000\n", ""},
		{"ann:710000:65536\n", `were unpacked where a user namespace had the ids "uid 1 700000 70000"`},
		{"", `were unpacked where a user namespace had the ids "uid 1 700000 70000"`},
		{"ann:700000:70000\n", ""},
	} {
		if err := os.WriteFile("/etc/subuid", []byte(c.ids), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := u.try("ls"); (err != nil) != (c.want != "") || !strings.Contains(out, c.want) {
			t.Errorf("with %q in /etc/subuid: %v: %s", c.ids, err, out)
		}
	}
	u.image("rm", name)
	if left := u.layers(""); len(left) > 0 {
		t.Errorf("layers of no image: %v", left)
	}
}

func TestOrdinaryUserWithoutHome(t *testing.T) {
	u := newUser(t)
	u.env = []string{"XDG_DATA_HOME=not/absolute"}
	if out, err := u.try("ls"); err == nil || out != "image: there is no place for the image store, because $HOME is not set: set it, or name a directory with --root\n" {
		t.Errorf("%v: %s", err, out)
	}
	u.image("--root", u.home+"/here", "ls")
	if out, err := u.try("--root", "/proc/none", "ls"); err == nil || !strings.Contains(out, "image: mkdir /proc/none: ") {
		t.Errorf("%v: %s", err, out)
	}
}

// TestOrdinaryUserWithoutUserNamespaces: who may have none is told why, and the
// cure, and can do what needs none. The setting is that of a user namespace
// around the user, not the host's.
func TestOrdinaryUserWithoutUserNamespaces(t *testing.T) {
	u := newUser(t)
	hosttest.Require(t, hosttest.Program("setpriv"))
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 65536}}
	forbidden := func(command string) string {
		cmd := exec.Command("/bin/sh", "-c", fmt.Sprintf("echo 0 > /proc/sys/user/max_user_namespaces; exec setpriv --reuid %d --regid %[1]d --clear-groups /bin/sh -c %q", hosttest.Ordinary, command))
		self, err := os.ReadFile("/proc/self/exe")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(u.home+"/image", self, 0o755); err != nil {
			t.Fatal(err)
		}
		cmd.Dir, cmd.Env = "/", append(u.env, "PATH="+u.home+":"+os.Getenv("PATH"))
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true}
		out, err := cmd.CombinedOutput()
		if err == nil {
			t.Errorf("%s succeeds: %s", command, out)
		}
		return string(out)
	}
	out := forbidden("image ls")
	for _, want := range []string{"image: this takes root, and a user namespace, in which you would be root, cannot be had: ", "user.max_user_namespaces is 0", "run it with sudo", "sudo sysctl -w user.max_user_namespaces=15000"} {
		if !strings.Contains(out, want) {
			t.Errorf("%s\nlacks %q", out, want)
		}
	}
	if out := forbidden("image referrers 127.0.0.1:1/demo:1"); !strings.Contains(out, "connection refused") {
		t.Errorf("what needs no store says %s", out)
	}
}

// exit is the status of a program that has ended.
func exit(_ string, err error) int {
	if e, ok := err.(*exec.ExitError); ok {
		return e.ExitCode()
	}
	return 0
}
