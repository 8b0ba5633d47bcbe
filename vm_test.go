package course_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// vm is the Linux machine in which the chapters' tests run where this system
// cannot run them: ssh's configuration for it, and its name there.
type vm struct{ config, host string }

// courseInVM is where the tree lies in the machine; vagrant/provision.sh builds there, too.
const courseInVM = "/usr/local/src/drydock"

// here reports whether this system can run the chapters' tests.
func here() bool { return runtime.GOOS == "linux" && os.Geteuid() == 0 }

// findVM returns the machine that is up: Vagrant's, or Lima's.
func findVM(t *testing.T) *vm {
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	candidates := []vm{{filepath.Join(root, ".vagrant", "drydock.ssh"), "drydock-vm"}}
	if home, err := os.UserHomeDir(); err == nil {
		candidates = append(candidates, vm{filepath.Join(home, ".lima", "drydock", "ssh.config"), "lima-drydock"})
	}
	why := "there is none"
	for _, m := range candidates {
		if _, err := os.Stat(m.config); err != nil {
			continue
		}
		if out, err := m.ssh("true").CombinedOutput(); err != nil {
			why = fmt.Sprintf("it does not answer: %v: %s", err, bytes.TrimSpace(out))
			continue
		}
		return &m
	}
	unable := fmt.Sprintf("the chapters need a Linux kernel, and this is %s", runtime.GOOS)
	sudo := ""
	if runtime.GOOS == "linux" {
		unable = "the chapters need root, or a virtual machine"
		sudo = "\nor, on this very machine:\n\tsudo go test ./..."
	}
	message := fmt.Sprintf("%s; of the machine: %s. Type, in the repository:\n\tvagrant up\n\tgo test ./...%s", unable, why, sudo)
	if testing.Short() {
		t.Skip(message)
	}
	t.Fatal(message)
	return nil
}

// ssh is a command in the machine; its words are the other side's shell's.
func (m *vm) ssh(command string) *exec.Cmd {
	return exec.Command("ssh", "-F", m.config, "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15", "--", m.host, command)
}

// bring replaces the machine's tree with this one: an old tree is never tested.
func (m *vm) bring(t *testing.T) {
	r, w := io.Pipe()
	go func() { w.CloseWithError(pack(w)) }()
	cmd := m.ssh("sudo sh -c 'set -e; d=" + courseInVM + "; rm -rf $d.new; mkdir -p $d.new; tar -x -C $d.new; rm -rf $d; mv $d.new $d'")
	cmd.Stdin = r
	if out, err := cmd.CombinedOutput(); err != nil {
		r.CloseWithError(err)
		t.Fatalf("bring the tree into the machine: %v: %s", err, bytes.TrimSpace(out))
	}
}

// pack writes the repository's files as a tar. Windows keeps no modes: what
// begins with #! is a program.
func pack(w io.Writer) error {
	out := tar.NewWriter(w)
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		name := filepath.ToSlash(path)
		switch {
		case err != nil:
			return err
		case slices.Contains([]string{".git", ".vagrant", "bin", "classroom"}, name):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case !d.Type().IsRegular():
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		mode := int64(0o644)
		if bytes.HasPrefix(text, []byte("#!")) {
			mode = 0o755
		}
		if err := out.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(text))}); err != nil {
			return err
		}
		_, err = out.Write(text)
		return err
	})
	return errors.Join(err, out.Close())
}

// command runs a program in one directory of the machine's tree.
func (m *vm) command(dir string, args []string) *exec.Cmd {
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
	}
	return m.ssh("cd " + courseInVM + "/" + dir + " && sudo -H " + strings.Join(quoted, " "))
}
