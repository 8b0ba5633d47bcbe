//go:build linux

package overlayfs

import (
	"archive/tar"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// attributes gives new files of the tree what their entries say. It knows with
// which attributes the kernel makes a file: what an entry wants the same way
// costs no call.
type attributes struct {
	uid, gid  int
	umask     uint32
	exactMode bool // the mode that open(2) set is not to be trusted
	owners    Owners
}

// newAttributes looks at the process and at the tree's root.
func newAttributes(t *tree) attributes {
	d := attributes{uid: os.Geteuid(), gid: os.Getegid(), umask: umask(), owners: t.owners}
	var st unix.Stat_t
	inherits := unix.Fstatat(t.fd, "", &st, unix.AT_EMPTY_PATH) != nil || st.Mode&unix.S_ISGID != 0
	if _, err := unix.Getxattr(t.real, "system.posix_acl_default", nil); inherits || err == nil {
		d.gid, d.exactMode = -1, true
	}
	return d
}

// umask reads the process's umask, which umask(2) could only do by changing it
// for a moment, for every thread.
func umask() uint32 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0o777
	}
	var mask uint32
	for line := range strings.Lines(string(status)) {
		if _, err := fmt.Sscanf(line, "Umask: %o", &mask); err == nil {
			return mask
		}
	}
	return 0o777
}

// apply gives the file behind fd the attributes in h. The order matters:
// chown(2) clears set-user-ID bits and file capabilities, and everything
// changes the times.
func (d attributes) apply(fd int, h *tar.Header) error {
	if err := d.chown(fd, h); err != nil {
		return err
	}
	for record, value := range h.PAXRecords {
		name, ok := strings.CutPrefix(record, xattrRecord)
		if !ok || isOverlayXattr(name) {
			continue
		}
		value, err := d.owners.translate(name, value, onDisk)
		if err != nil {
			return err
		}
		err = unix.Setxattr(self(fd), name, []byte(value), 0)
		// What this file system cannot keep, or the kernel allows on files and
		// directories only (user.*), or to root of the host only, is not worth a
		// container that does not start: tar and Docker see it alike.
		lost := errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EPERM) && (strings.HasPrefix(name, "user.") || inUserNamespace())
		if err != nil && !lost {
			return &os.PathError{Op: "setxattr " + name, Path: h.Name, Err: err}
		}
	}
	mode := uint32(h.Mode) & 0o7777
	if h.Typeflag != tar.TypeSymlink && (d.exactMode || mode&^0o777 != 0 || mode&d.umask != 0) {
		if err := chmod(fd, mode); err != nil {
			return &os.PathError{Op: fmt.Sprintf("chmod %#o", mode), Path: h.Name, Err: err}
		}
	}
	atime := h.AccessTime
	if atime.IsZero() {
		atime = h.ModTime
	}
	if err := utimes(fd, atime, h.ModTime); err != nil {
		return &os.PathError{Op: "utimensat", Path: h.Name, Err: err}
	}
	return nil
}

// chown gives the file behind fd its owners.
func (d attributes) chown(fd int, h *tar.Header) error {
	uid, err := onDisk(d.owners.UIDs, h.Uid)
	if err != nil {
		return fmt.Errorf("owner: %w", err)
	}
	gid, err := onDisk(d.owners.GIDs, h.Gid)
	if err != nil {
		return fmt.Errorf("group: %w", err)
	}
	if uid == d.uid && gid == d.gid {
		return nil
	}
	err = unix.Fchownat(fd, "", uid, gid, unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.EINVAL) && inUserNamespace() {
		return fmt.Errorf("chown %d:%d: this user namespace has no such id: give the user more in /etc/subuid and /etc/subgid, by usermod --add-subuids and --add-subgids, and install newuidmap (see drydock doctor): %w", uid, gid, err)
	}
	if err != nil {
		return &os.PathError{Op: fmt.Sprintf("chown %d:%d", uid, gid), Path: h.Name, Err: err}
	}
	return nil
}

// chmod is fchmod(2), also for descriptors that were opened with O_PATH.
func chmod(fd int, mode uint32) error {
	err := unix.Fchmod(fd, mode)
	if errors.Is(err, unix.EBADF) {
		err = unix.Chmod(self(fd), mode)
	}
	return err
}

// utimes sets the times of the file behind fd, to the nanosecond.
func utimes(fd int, atime, mtime time.Time) error {
	var ts [2]unix.Timespec
	for i, t := range [2]time.Time{atime, mtime} {
		var err error
		if ts[i], err = unix.TimeToTimespec(t); err != nil {
			return err
		}
	}
	return unix.UtimesNanoAt(fd, "", ts[:], unix.AT_EMPTY_PATH)
}
