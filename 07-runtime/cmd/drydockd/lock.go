//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// own locks dir for the life of this process: flock(2) locks go with the last
// descriptor, so a killed daemon leaves none behind.
func own(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "drydockd.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		owner := make([]byte, 20)
		n, _ := f.ReadAt(owner, 0)
		f.Close()
		return nil, fmt.Errorf("%s is used by another drydockd, process %s; give this one a --root and a --state of its own",
			dir, strings.TrimSpace(string(owner[:n])))
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		f.Close()
		return nil, &os.PathError{Op: "lock", Path: f.Name(), Err: err}
	}
	return f, nil
}

// takeTurn waits until no other daemon on state is starting or leaving. Closing
// the file ends the turn.
func takeTurn(state string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(state, "drydockd.turn"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		// The Go runtime's own signals (SIGURG) interrupt a wait.
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, &os.PathError{Op: "flock", Path: f.Name(), Err: err}
	}
	return f, nil
}
