//go:build linux

package course_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// asUser runs this very test program as an ordinary user, with a stand-in for
// ssh that writes down what it is asked, and answers as script says.
func asUser(t *testing.T, script string, args ...string) (output, asked string, tree []byte, err error) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to become an ordinary user")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "course-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"course.test":              string(program),
		"ssh":                      "#!/bin/sh\nfor last; do :; done\nprintf '%s\\n' \"$*\" >> \"$HOME/asked\"\n" + script,
		".lima/drydock/ssh.config": "",
	} {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	const nobody = 65534
	if err := errors.Join(os.Chmod(dir, 0o777), os.WriteFile(filepath.Join(dir, "asked"), nil, 0o666), os.Chmod(filepath.Join(dir, "asked"), 0o666)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(dir, "course.test"), args...)
	cmd.Env = append(os.Environ(), "HOME="+dir, "PATH="+dir+":"+os.Getenv("PATH"), "GOCACHE="+dir+"/cache", "GOTOOLCHAIN=local")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	text, rerr := os.ReadFile(filepath.Join(dir, "asked"))
	if rerr != nil {
		t.Fatal(rerr)
	}
	tree, rerr = os.ReadFile(filepath.Join(dir, "tree"))
	if rerr != nil && !errors.Is(rerr, os.ErrNotExist) {
		t.Fatal(rerr)
	}
	return string(out), string(text), tree, err
}

func TestTheVMGetsTheTreeAndTheFlags(t *testing.T) {
	out, asked, tree, err := asUser(t, `case $last in *tar*) cat > "$HOME/tree";; *04-overlayfs*) echo a planted failure; exit 1;; esac`,
		"-test.run=TestCourse/0[34]/It's", "-test.v", "-test.count=2", "-test.timeout=3m")
	if err == nil || !strings.Contains(out, "a planted failure") || !strings.Contains(out, "--- FAIL: TestCourse/04-overlayfs") || !strings.Contains(out, "--- PASS: TestCourse/03-cgroups") {
		t.Errorf("%v\n%s", err, out)
	}
	want := `lima-drydock cd /usr/local/src/drydock/03-cgroups && sudo -H 'go' 'test' '-v' '-run=It'\''s' '-timeout=3m0s' '-count=2' './...'`
	if !strings.Contains(asked, want+"\n") {
		t.Errorf("the machine was asked\n%swant\n%s", asked, want)
	}
	var names []string
	for r := tar.NewReader(bytes.NewReader(tree)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		if want := int64(0o755); h.Name == "vagrant/provision.sh" && h.Mode != want {
			t.Errorf("%s has mode %o, want %o", h.Name, h.Mode, want)
		}
		if strings.HasPrefix(h.Name, ".git/") || strings.Contains(h.Name, `\`) {
			t.Errorf("the tree has %s", h.Name)
		}
	}
	for _, want := range []string{"go.work", "vagrant/provision.sh", "03-cgroups/README.md", "07-runtime/builtin/bin/.keep"} {
		if !slices.Contains(names, want) {
			t.Errorf("the tree lacks %s", want)
		}
	}
}

func TestWithoutAVM(t *testing.T) {
	const unreachable = "echo connect to host 127.0.0.1 port 2222: Connection refused >&2; exit 255"
	out, _, _, err := asUser(t, unreachable, "-test.run=TestCourse")
	for _, want := range []string{"--- FAIL", "the chapters need root, or a virtual machine", "Connection refused", "\tvagrant up\n", "\tgo test ./...\n", "\tsudo go test ./..."} {
		if err == nil || !strings.Contains(out, want) {
			t.Errorf("%v, and no %q in\n%s", err, want, out)
		}
	}
	if out, _, _, err := asUser(t, unreachable, "-test.run=TestCourse", "-test.short", "-test.v"); err != nil || !strings.Contains(out, "--- SKIP: TestCourse") {
		t.Errorf("-short: %v\n%s", err, out)
	}
	if out, _, _, err := asUser(t, `case $last in *tar*) echo no space left on device >&2; exit 1;; esac`, "-test.run=TestCourse"); err == nil || !strings.Contains(out, "bring the tree into the machine: exit status 1: no space left on device") {
		t.Errorf("a full disk: %v\n%s", err, out)
	}
}
