//go:build linux

package oci

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/explain"
)

const chapter explain.Chapter = 7

// A Runtime is a directory of containers. It need not exist.
type Runtime struct {
	Root string
	// Rootless has a container do without a cgroup where none can be made and
	// its config asks for no limits: an ordinary user owns none.
	Rootless bool
	// Systemd has systemd make the containers' cgroups: their cgroupsPath is
	// "slice:prefix:name". With Rootless it is the user's own systemd.
	Systemd bool
	// Warn is told what was asked for, is not essential, and could not be had.
	// It may be nil.
	Warn func(string)
}

func (r Runtime) warn(texts ...string) {
	if r.Warn == nil {
		return
	}
	for _, text := range texts {
		r.Warn(text)
	}
}

// container is one container during one invocation.
type container struct {
	dir  string
	lock *os.File // ROOT/ID, locked; nil where the container is only looked at
	record
}

// release lets others at the container.
func (c *container) release() {
	if c.lock != nil {
		c.lock.Close()
		c.lock = nil
	}
}

// State reports one container.
func (r Runtime) State(id string) (State, error) {
	c, err := r.look(id)
	if err != nil {
		return State{}, err
	}
	return c.state(), nil
}

// List reports all containers, by ID. One that vanishes meanwhile, or of which
// there is no more than a directory, is left out.
func (r Runtime) List() ([]State, error) {
	entries, err := os.ReadDir(r.Root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var list []State
	for _, e := range entries {
		if c, err := r.look(e.Name()); err == nil {
			list = append(list, c.state())
		}
	}
	return list, nil
}

// look reads a container without a lock: state.json is complete at any time.
func (r Runtime) look(id string) (*container, error) {
	if !validID(id) {
		return nil, ErrInvalidID
	}
	c := &container{dir: filepath.Join(r.Root, id)}
	return c, c.load()
}

// hold takes a container's lock, and waits for it. The container is returned
// also with ErrNotExist when there is a directory without a state.
func (r Runtime) hold(id string) (*container, error) {
	if !validID(id) {
		return nil, ErrInvalidID
	}
	c := &container{dir: filepath.Join(r.Root, id)}
	if err := c.take(); err != nil {
		return nil, err
	}
	return c, c.load()
}

// take locks the container's directory.
func (c *container) take() error {
	f, err := os.OpenFile(c.dir, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotExist
	}
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err = unix.Flock(int(f.Fd()), unix.LOCK_EX); err == nil {
		err = unix.Fstat(int(f.Fd()), &st)
	}
	if err == nil && st.Nlink == 0 {
		err = ErrNotExist // deleted by whoever had the lock before
	}
	if err != nil {
		f.Close()
		return err
	}
	c.lock = f
	return nil
}

// validID accepts what runc accepts: letters, digits and _+-., up to 1024, and
// not the names that every directory has.
func validID(id string) bool {
	if id == "" || len(id) > 1024 || id == "." || id == ".." {
		return false
	}
	for _, c := range []byte(id) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '_', c == '+', c == '-', c == '.':
		default:
			return false
		}
	}
	return true
}
