package lesson

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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

// patience is how long one command may take, its compilation included: 2
// minutes, and more where -timeout has more. An emulated machine needs it.
func patience(t *testing.T) time.Duration {
	const least = 2 * time.Minute
	if deadline, ok := t.Deadline(); ok {
		return max(least, time.Until(deadline)/5)
	}
	return least
}

// console runs all sessions of the pages as one story, each block a subtest, up
// to the first that fails. The commands find the repository, whose directory is
// root, at the path at in their own /tmp; where at is "" it stays where it is.
func console(t *testing.T, root, at string, pages ...page) {
	hosttest.Require(t, hosttest.Root)
	story, err := newStory(root, at)
	if err != nil {
		t.Fatal(err)
	}
	defer story.end()
	for _, p := range pages {
		for _, b := range p.blocks {
			if b.language != "console" {
				continue
			}
			name := "line " + strconv.Itoa(b.line)
			if len(pages) > 1 {
				name = filepath.Base(filepath.Dir(p.path)) + " " + name
			}
			if !t.Run(name, func(t *testing.T) { story.tell(t, p.name, b) }) {
				t.Fatalf("the sessions after %s:%d were not run: they build on it", p.name, b.line)
			}
		}
	}
}

// tell runs the commands of a block.
func (s *story) tell(t *testing.T, readme string, b block) {
	for _, word := range b.requires {
		need, err := requirement(word)
		if err != nil {
			t.Fatalf("%s:%d: %v", readme, b.line, err)
		}
		hosttest.Require(t, need)
	}
	all, err := steps(b)
	if err != nil {
		t.Fatalf("%s: %v", readme, err)
	}
	for _, step := range all {
		output, err := s.run(withoutSudo(step.command), patience(t))
		if err != nil {
			t.Fatalf("%s:%d: $ %s\n%v\n%s", readme, step.line, step.command, err, output)
		}
		if want, got := lines(strings.Join(step.output, "\n")), lines(output); !matches(want, got) {
			t.Fatalf("%s:%d: $ %s\n%s", readme, step.line, step.command, difference(want, got))
		}
	}
}

// requirement reads a word of a "requires" comment: root, cgroup1, cgroup2,
// overlay, bridge, userns, timens, linux-X.Y, or else the name of a program.
func requirement(word string) (hosttest.Requirement, error) {
	switch word {
	case "root":
		return hosttest.Root, nil
	case "cgroup1":
		return hosttest.CgroupV1, nil
	case "cgroup2":
		return hosttest.CgroupV2, nil
	case "overlay":
		return hosttest.Overlay, nil
	case "bridge":
		return hosttest.Bridge, nil
	case "userns":
		return hosttest.UserNamespaces, nil
	case "timens":
		return hosttest.TimeNamespaces, nil
	}
	if version, ok := strings.CutPrefix(word, "linux-"); ok {
		var major, minor int
		if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err != nil {
			return nil, fmt.Errorf("requires: %q is no version", word)
		}
		return hosttest.Kernel(major, minor), nil
	}
	return hosttest.Program(word), nil
}

// story is a thread in a mount namespace of its own, which starts all commands.
type story struct {
	root string
	env  []string
	// work hands the thread what to do; done says that the thread ended, and
	// with it the namespace.
	work chan func()
	done chan struct{}
}

// newStory begins a story in the repository root, which is seen at the path at.
func newStory(root, at string) (*story, error) {
	if at == "" {
		at = root
	}
	goTool, err := exec.LookPath("go")
	if err != nil {
		return nil, err
	}
	s := &story{root: at, work: make(chan func()), done: make(chan struct{})}
	// With another $HOME the go command would look for its caches elsewhere.
	var caches []string
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPATH"} {
		value, err := exec.Command(goTool, "env", name).Output()
		if err != nil {
			return nil, fmt.Errorf("go env %s: %w", name, err)
		}
		caches = append(caches, strings.TrimSpace(string(value)))
		s.env = append(s.env, name+"="+caches[len(caches)-1])
	}
	programs := "/tmp/.lesson"
	// git refuses to tell root about a clone that belongs to somebody else.
	s.env = append(s.env, "GOFLAGS="+strings.TrimSpace(os.Getenv("GOFLAGS")+" -buildvcs=false"),
		"HOME=/tmp/home", "TMPDIR=/tmp", "LC_ALL=C.UTF-8", "TERM=dumb",
		"PATH="+programs+":"+filepath.Join(at, "bin")+":"+os.Getenv("PATH"))
	needed := map[string]string{at: root}
	for _, path := range append(caches, filepath.Dir(filepath.Dir(goTool))) {
		needed[path] = path
	}
	ready := make(chan error, 1)
	go func() {
		defer close(s.done)
		// Never unlocked: when this function returns the thread ends, and the
		// kernel takes the mount namespace and all in it away.
		runtime.LockOSThread()
		ready <- setTheScene(programs, goTool, needed)
		for f := range s.work {
			f()
		}
	}()
	if err := <-ready; err != nil {
		s.end()
		return nil, err
	}
	return s, nil
}

// setTheScene gives the calling thread a mount namespace with an empty /tmp, but
// for what of needed is to be there: a clone of the repository, for example.
// The keys of needed are where a directory is seen, the values where it is.
func setTheScene(programs, goTool string, needed map[string]string) error {
	// Mount namespaces belong to threads once they share no working directory.
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return os.NewSyscallError("mount / private", err)
	}
	kept := map[string]int{}
	for at, path := range needed {
		if !strings.HasPrefix(at, "/tmp/") {
			continue
		}
		fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
		if err != nil {
			return &os.PathError{Op: "open_tree", Path: path, Err: err}
		}
		defer unix.Close(fd)
		kept[at] = fd
	}
	if err := unix.Mount("tmpfs", "/tmp", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777"); err != nil {
		return os.NewSyscallError("mount /tmp", err)
	}
	for path, fd := range kept {
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
		if err := unix.MoveMount(fd, "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return &os.PathError{Op: "move_mount", Path: path, Err: err}
		}
	}
	for _, dir := range []string{programs, "/tmp/home"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(programs, "go"), fmt.Appendf(nil, goRun, goTool), 0o755)
}

// goRun is the go command of the sessions: go run links a program once, and
// goes on as go run does.
const goRun = `#!/bin/sh
go=%[1]s
case "$1 $2" in
"run -"*) exec $go "$@" ;;
"run "*) ;;
*) exec $go "$@" ;;
esac
program=$0-$(echo "$2" | tr / _)/$(basename "$2")
test -x "$program" || $go build -o "$program" "$2" || exit 1
shift 2
"$program" "$@"
status=$?
test $status = 0 && exit 0
echo "exit status $status" >&2
exit 1
`

// run runs one command, which must end within patience, and returns what it
// printed, to both of its outputs. A command that fails is no error: its message
// is part of the story.
func (s *story) run(command string, patience time.Duration) (string, error) {
	// A file and not a pipe: what a command leaves in the background may hold
	// it open for as long as it likes.
	output, err := os.CreateTemp("", "output")
	if err != nil {
		return "", err
	}
	defer os.Remove(output.Name())
	defer output.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	cmd.Dir = s.root
	cmd.Env = append(os.Environ(), s.env...)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	finished := make(chan error)
	s.work <- func() { finished <- cmd.Run() }
	err = <-finished
	b, readErr := os.ReadFile(output.Name())
	if readErr != nil {
		return "", readErr
	}
	if ctx.Err() != nil {
		return string(b), fmt.Errorf("no end after %v", patience)
	}
	if _, failed := errors.AsType[*exec.ExitError](err); err != nil && !failed {
		return string(b), err
	}
	return string(bytes.ToValidUTF8(b, []byte("\ufffd"))), nil
}

// end ends the thread.
func (s *story) end() {
	close(s.work)
	<-s.done
}
