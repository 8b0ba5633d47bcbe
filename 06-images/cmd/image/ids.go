//go:build linux

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// idRange is a line of uid_map or gid_map: Size ids from Inside on, in the user
// namespace, are those from Outside on.
type idRange struct {
	Kind                  string // uid or gid
	Inside, Outside, Size uint64
}

func (r idRange) String() string {
	return fmt.Sprintf("%s %d %d %d", r.Kind, r.Inside, r.Outside, r.Size)
}

// covers says whether each id of o is the same one in r.
func (r idRange) covers(o idRange) bool {
	return r.Kind == o.Kind && r.Inside <= o.Inside && o.Inside+o.Size <= r.Inside+r.Size && o.Outside-o.Inside == r.Outside-r.Inside
}

// checkIDs compares the ids of this process's user namespace with those in the
// file "ids" of the store, with which its layers were unpacked, and notes them
// there. Where one is another now, or none, the files of a layer have changed
// hands, and what is made of them would be another image.
func checkIDs(root string) error {
	var now []idRange
	for _, kind := range []string{"uid", "gid"} {
		b, err := os.ReadFile("/proc/self/" + kind + "_map")
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(b)) {
			r, err := parseIDs(kind + " " + line)
			if err != nil {
				return err
			}
			now = append(now, r)
		}
	}
	path := filepath.Join(root, "ids")
	before, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for line := range strings.Lines(string(before)) {
		was, err := parseIDs(line)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if !slices.ContainsFunc(now, func(r idRange) bool { return r.covers(was) }) {
			return fmt.Errorf("the layers in %s were unpacked where a user namespace had the ids %q, and here it has %q: be the user of then, with the same lines in /etc/subuid and /etc/subgid, or name another --root", root, was, now)
		}
	}
	var text strings.Builder
	for _, r := range now {
		fmt.Fprintln(&text, r)
	}
	if text.String() == string(before) {
		return nil
	}
	if err := os.WriteFile(path+".new", []byte(text.String()), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func parseIDs(line string) (r idRange, err error) {
	if _, err := fmt.Sscan(line, &r.Kind, &r.Inside, &r.Outside, &r.Size); err != nil {
		return r, fmt.Errorf("%q is not KIND INSIDE OUTSIDE SIZE: %w", line, err)
	}
	return r, nil
}
