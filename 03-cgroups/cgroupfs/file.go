//go:build linux

package cgroupfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"strconv"
	"strings"

	"drydock.example/01-chroot/explain"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

const chapter explain.Chapter = 3

// NoLimit stands for "max" (v2) and for the largest number of pages (v1).
const NoLimit = math.MaxUint64

// refused is the kernel's answer to one call on a control file, with the kind
// of error that it means to a caller.
type refused struct {
	*os.PathError
	kind error
}

func (r *refused) Unwrap() []error {
	if r.kind == nil {
		return []error{r.PathError}
	}
	return []error{r.PathError, r.kind}
}

func refuse(op, path string, errno error) error {
	r := &refused{PathError: &os.PathError{Op: op, Path: path, Err: errno}}
	switch errno {
	case unix.EINVAL, unix.ERANGE, unix.E2BIG, unix.EDOM:
		r.kind = errdefs.ErrInvalidArgument
	case unix.ENOENT, unix.ENODEV:
		r.kind = errdefs.ErrNotFound
	case unix.EBUSY, unix.ENOTEMPTY, unix.EOPNOTSUPP, unix.EROFS:
		r.kind = errdefs.ErrFailedPrecondition
	case unix.EEXIST:
		r.kind = errdefs.ErrAlreadyExists
	case unix.EACCES, unix.EPERM:
		r.kind = errdefs.ErrPermissionDenied
	}
	return r
}

// Write writes value to a control file in one write(2). The error says what
// was written where, wraps *os.PathError and has the errdefs kind that fits
// the errno. why is for --explain.
func Write(ctx context.Context, path, value, why string) error {
	chapter.Call(ctx, why, "write(%q, %q)", path, value)
	// Raw calls: os.OpenFile would register the file with the runtime's
	// poller, two more system calls for each limit.
	fd, err := open(path, unix.O_WRONLY)
	if err != nil {
		return refuse("write "+value+" to", path, err)
	}
	defer unix.Close(fd)
	for {
		// A signal may interrupt the kernel while it frees memory to get
		// below a new limit; nothing has changed then.
		_, err = unix.Write(fd, []byte(value))
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return refuse("write "+value+" to", path, err)
	}
	return nil
}

// Read returns a control file's content.
func Read(path string) ([]byte, error) {
	fd, err := open(path, unix.O_RDONLY)
	if err != nil {
		return nil, refuse("read", path, err)
	}
	defer unix.Close(fd)
	buf := make([]byte, 0, 4096)
	for {
		n, err := unix.Read(fd, buf[len(buf):cap(buf)])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil, refuse("read", path, err)
		case n == 0:
			return buf, nil
		default:
			buf = buf[:len(buf)+n]
			if len(buf) == cap(buf) {
				buf = append(make([]byte, 0, 4*cap(buf)), buf...)
			}
		}
	}
}

func open(path string, flags int) (int, error) {
	for {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// Mkdir makes one cgroup. The error is of kind AlreadyExists when it is there.
func Mkdir(ctx context.Context, dir, why string) error {
	chapter.Call(ctx, why, "mkdir(%q, 0755)", dir)
	if err := unix.Mkdir(dir, 0o755); err != nil {
		return refuse("mkdir", dir, err)
	}
	return nil
}

// Rebuild calls build, which makes a cgroup after its missing parents, and calls
// it again when a parent was gone at its next step: with the last container that
// another process ends goes their parent, while a new one begins.
func Rebuild(ctx context.Context, build func() error) (err error) {
	const attempts = 100 // each but the last one lost a race of microseconds
	for range attempts {
		if err = build(); !errdefs.IsNotFound(err) || ctx.Err() != nil {
			break
		}
	}
	return err
}

// Rmdir removes one cgroup, which the kernel allows when neither a process nor
// a child is in it (EBUSY). A cgroup that is gone already is no error.
func Rmdir(ctx context.Context, dir, why string) error {
	chapter.Call(ctx, why, "rmdir(%q)", dir)
	if err := unix.Rmdir(dir); err != nil && err != unix.ENOENT {
		return refuse("rmdir", dir, err)
	}
	return nil
}

// Exists says whether dir is a cgroup. A control file is none.
func Exists(dir string) bool {
	var st unix.Stat_t
	return unix.Stat(dir, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR
}

// ReadString returns a control file's content without the last newline.
func ReadString(path string) (string, error) {
	b, err := Read(path)
	return strings.TrimSpace(string(b)), err
}

// ReadUint returns the number in a control file; "max" is [NoLimit], and so is
// the number that v1 shows for no limit (the largest int64 in whole pages).
func ReadUint(path string) (uint64, error) {
	s, err := ReadString(path)
	if err != nil {
		return 0, err
	}
	return parseUint(path, s)
}

func parseUint(path, s string) (uint64, error) {
	if s == "max" {
		return NoLimit, nil
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	if n >= math.MaxInt64-math.MaxUint16 {
		return NoLimit, nil
	}
	return n, nil
}

// ReadMap returns a flat keyed file (memory.stat, cpu.stat, cgroup.events): one
// "key value" pair a line. Pairs whose value is no number are left out.
func ReadMap(path string) (map[string]uint64, error) {
	b, err := Read(path)
	if err != nil {
		return nil, err
	}
	m := make(map[string]uint64, bytes.Count(b, []byte{'\n'}))
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := parseUint(path, value); err == nil {
			m[key] = n
		}
	}
	return m, nil
}

// ReadPids returns the process IDs in a cgroup.procs file, as this process's
// PID namespace numbers them; 0 stands for a process of another namespace and
// is left out.
func ReadPids(path string) ([]int, error) {
	b, err := Read(path)
	if err != nil {
		return nil, err
	}
	var pids []int
	for line := range strings.Lines(string(b)) {
		pid, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if pid != 0 {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// Children returns the directories of a cgroup's children.
func Children(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var children []string
	for _, e := range entries {
		if e.IsDir() {
			children = append(children, dir+"/"+e.Name())
		}
	}
	return children, nil
}

// TreePids returns the process IDs of a cgroup and all below it.
func TreePids(dir string) ([]int, error) {
	pids, err := ReadPids(dir + "/cgroup.procs")
	if err != nil {
		return nil, err
	}
	children, err := Children(dir)
	if err != nil {
		return nil, err
	}
	for _, child := range children {
		more, err := TreePids(child)
		if err != nil && !errdefs.IsNotFound(err) {
			return nil, err
		}
		pids = append(pids, more...)
	}
	return pids, nil
}

// ListPids names a few processes for an error message: "12, 13, 14 and 5 more".
func ListPids(pids []int) string {
	const few = 5
	var b strings.Builder
	for i, pid := range pids {
		if i == few {
			fmt.Fprintf(&b, " and %d more", len(pids)-few)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(strconv.Itoa(pid))
	}
	return b.String()
}
