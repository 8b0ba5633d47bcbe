//go:build linux

package overlayfs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"drydock.example/01-chroot/explain"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// chapter is this one, for --explain.
const chapter explain.Chapter = 4

// layerOptions are given with every mount, whatever the kernel was built or
// configured to do by default. With them an upper directory holds whole files
// and whole directories and is, by itself, all that a layer is made of.
func layerOptions() []string {
	if inUserNamespace() {
		// With userxattr the kernel takes no other word for redirect_dir.
		return []string{"redirect_dir=nofollow", "metacopy=off", "index=off", "userxattr"}
	}
	return []string{"redirect_dir=off", "metacopy=off", "index=off"}
}

// reasons says what an option is good for.
var reasons = map[string]string{
	"redirect_dir=off":      "a renamed directory is copied to upper, not noted there",
	"metacopy=off":          "a file whose mode changes is copied to upper, content and all",
	"index=off":             "upper may be mounted again, over other layers",
	"redirect_dir=nofollow": "as redirect_dir=off, and notes of others are not heeded",
	"userxattr":             "marks are called user.overlay.*: trusted.* is for root of the host",
	"volatile":              "no sync of upper, which nobody needs after a crash",
}

// Mount mounts the merged view of layers at target: the directories lower, the
// topmost first as [Store.Lower] returns them, and over them upper, which takes
// what is written. work is an empty directory on upper's file system, for the
// kernel's use. With upper "" nothing can be written and work is not needed;
// with readonly nothing can be written although there is an upper.
//
// options are further options by overlay's names, such as "volatile": the
// kernel then skips every sync of upper, also the one at unmount, and after a
// crash of the machine upper may be damaged.
//
// The kernel calls are those of the new mount API, fsopen(2) to move_mount(2),
// which take one layer at a time; a kernel that cannot do so (before 6.7) gets
// the one string of mount(2). [Unmount] is the undo.
//
// Source: Documentation/filesystems/overlayfs.rst.
func Mount(ctx context.Context, target string, lower []string, upper, work string, readonly bool, options ...string) error {
	if len(lower) == 0 {
		return fmt.Errorf("overlay at %s: no layers: %w", target, errdefs.ErrInvalidArgument)
	}
	if (upper == "") != (work == "") {
		return fmt.Errorf("overlay at %s: upper %q and work %q go together: %w", target, upper, work, errdefs.ErrInvalidArgument)
	}
	if err := checkDirectories(target, lower, upper, work); err != nil {
		return fmt.Errorf("overlay at %s: %w", target, err)
	}
	for _, o := range options {
		if o == "volatile" {
			forgetVolatile(work)
		}
	}
	if upper == "" && len(lower) == 1 {
		return bind(ctx, target, lower[0])
	}
	o := &overlay{lower: lower, upper: upper, work: work, readonly: readonly}
	o.options = append(layerOptions(), options...)
	err := o.fsmount(ctx, target)
	if errors.Is(err, errOldKernel) {
		err = o.mount(ctx, target)
	}
	if err != nil {
		return fmt.Errorf("overlay of %d layers at %s: %w", len(lower), target, err)
	}
	return nil
}

// checkDirectories finds the mistakes for which the kernel has one word and does
// not say which of a hundred directories it means.
func checkDirectories(target string, lower []string, upper, work string) error {
	dirs := append([]string{target}, lower...)
	if upper != "" {
		dirs = append(dirs, upper, work)
	}
	var st unix.Stat_t
	var device uint64
	for _, dir := range dirs {
		if err := unix.Stat(dir, &st); err != nil {
			return &os.PathError{Op: "stat", Path: dir, Err: err}
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			return &os.PathError{Op: "stat", Path: dir, Err: unix.ENOTDIR}
		}
		if dir == upper {
			device = st.Dev
		}
	}
	if upper != "" && st.Dev != device {
		return fmt.Errorf("work %s is on another file system than upper %s: %w", work, upper, errdefs.ErrInvalidArgument)
	}
	return nil
}

// forgetVolatile removes the mark by which overlay refuses an upper directory
// that was mounted volatile before: whoever asks for it again knows.
func forgetVolatile(work string) {
	_ = os.RemoveAll(filepath.Join(work, "work", "incompat", "volatile"))
}

// Unmount takes away the mount at target. It fails with [unix.EBUSY] while a
// process works in it.
func Unmount(ctx context.Context, target string) error {
	chapter.Call(ctx, "the layers stay, their merged view goes", "umount2(%q, UMOUNT_NOFOLLOW)", target)
	if err := unix.Unmount(target, unix.UMOUNT_NOFOLLOW); err != nil {
		return &os.PathError{Op: "unmount", Path: target, Err: err}
	}
	return nil
}

// overlay is what one mount is made of.
type overlay struct {
	lower       []string
	upper, work string
	readonly    bool
	options     []string
}

// errOldKernel says that this kernel wants mount(2).
var errOldKernel = errors.New("the kernel takes no layers one by one")

// fsmount mounts o by the new mount API: a file system context is filled with
// one option at a time, becomes a mount that is nowhere yet, and is moved to
// its place. Nothing is to be undone on any way out but the last.
func (o *overlay) fsmount(ctx context.Context, target string) error {
	fs, err := o.superblock(ctx)
	if err != nil {
		return err
	}
	defer unix.Close(fs)
	attr, name := 0, "0"
	if o.readonly {
		attr, name = unix.MOUNT_ATTR_RDONLY, "MOUNT_ATTR_RDONLY"
	}
	chapter.Call(ctx, "a mount that is not in any directory yet", "fsmount(%d, FSMOUNT_CLOEXEC, %s)", fs, name)
	mnt, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, attr)
	if err != nil {
		return os.NewSyscallError("fsmount", err)
	}
	defer unix.Close(mnt)
	return move(ctx, mnt, target)
}

// move puts the mount behind mnt into its place.
func move(ctx context.Context, mnt int, target string) error {
	chapter.Call(ctx, "now it is seen", "move_mount(%d, \"\", AT_FDCWD, %q, MOVE_MOUNT_F_EMPTY_PATH)", mnt, target)
	if err := unix.MoveMount(mnt, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return &os.PathError{Op: "move_mount", Path: target, Err: err}
	}
	return nil
}

// superblock returns a file system context that holds o's file system, made
// and not mounted anywhere.
func (o *overlay) superblock(ctx context.Context) (_ int, err error) {
	chapter.Call(ctx, "a context for a new overlay file system", `fsopen("overlay", FSOPEN_CLOEXEC)`)
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if errors.Is(err, unix.ENOSYS) {
		return -1, errOldKernel
	}
	if err != nil {
		return -1, os.NewSyscallError("fsopen overlay", err)
	}
	defer func() {
		if err != nil {
			unix.Close(fs)
		}
	}()
	set := func(why, key, value string) error {
		chapter.Call(ctx, why, "fsconfig(%d, FSCONFIG_SET_STRING, %q, %q, 0)", fs, key, value)
		if err := unix.FsconfigSetString(fs, key, value); err != nil {
			return fmt.Errorf("fsconfig %s=%s: %w", key, value, complaint(fs, err))
		}
		return nil
	}
	if err := set("what the mount table shows as its source", "source", "overlay"); err != nil {
		return -1, err
	}
	for i, dir := range o.lower {
		name, done, err := layerName(dir)
		if err != nil {
			return -1, err
		}
		err = set("a layer, read-only, below those before it", "lowerdir+", name)
		done()
		if i == 0 && errors.Is(err, unix.EINVAL) {
			return -1, errOldKernel
		}
		if err != nil {
			return -1, err
		}
	}
	if o.upper != "" {
		for _, dir := range []struct{ why, key, path string }{
			{"takes what is written", "upperdir", o.upper},
			{"where the kernel prepares files before they appear in upper", "workdir", o.work},
		} {
			name, done, err := layerName(dir.path)
			if err != nil {
				return -1, err
			}
			err = set(dir.why, dir.key, name)
			done()
			if err != nil {
				return -1, err
			}
		}
	}
	for _, option := range o.options {
		why := cmp.Or(reasons[option], "as asked for")
		if key, value, ok := strings.Cut(option, "="); ok {
			err = set(why, key, value)
		} else {
			chapter.Call(ctx, why, "fsconfig(%d, FSCONFIG_SET_FLAG, %q, NULL, 0)", fs, option)
			if err = unix.FsconfigSetFlag(fs, option); err != nil {
				err = fmt.Errorf("fsconfig %s: %w", option, complaint(fs, err))
			}
		}
		if err != nil {
			return -1, err
		}
	}
	chapter.Call(ctx, "the kernel checks the layers and makes the file system", "fsconfig(%d, FSCONFIG_CMD_CREATE, NULL, NULL, 0)", fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, fmt.Errorf("fsconfig create: %w", complaint(fs, err))
	}
	return fs, nil
}

// layerName returns the name under which the kernel is told of a directory: its
// path, or, if that is too long for an option (255 bytes) or holds characters
// that have a meaning there, a name by way of an open descriptor. done closes
// what was opened, when the kernel has looked.
func layerName(dir string) (name string, done func(), err error) {
	if len(dir) < 256 && !strings.ContainsAny(dir, `\:,`) {
		return dir, func() {}, nil
	}
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	return self(fd), func() { unix.Close(fd) }, nil
}

// complaint adds to err what the kernel has written into the context's log,
// which says more than EINVAL does.
func complaint(fs int, err error) error {
	var said []string
	for {
		var line [1024]byte
		n, rerr := unix.Read(fs, line[:])
		if rerr != nil || n <= 0 {
			break
		}
		said = append(said, strings.TrimSpace(string(line[:n])))
	}
	if len(said) == 0 {
		return err
	}
	return fmt.Errorf("%w (the kernel says: %s)", err, strings.Join(said, "; "))
}

// bind shows a single layer read-only: the kernel makes an overlay of two
// directories or more.
func bind(ctx context.Context, target, dir string) error {
	chapter.Call(ctx, "one layer needs no merging: a second view of its directory",
		"open_tree(AT_FDCWD, %q, OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC)", dir)
	mnt, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return &os.PathError{Op: "open_tree", Path: dir, Err: err}
	}
	defer unix.Close(mnt)
	chapter.Call(ctx, "read-only before anyone can see it", `mount_setattr(%d, "", AT_EMPTY_PATH, {attr_set=MOUNT_ATTR_RDONLY})`, mnt)
	if err := unix.MountSetattr(mnt, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
		return &os.PathError{Op: "mount_setattr", Path: dir, Err: err}
	}
	return move(ctx, mnt, target)
}
