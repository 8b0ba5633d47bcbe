//go:build linux

package namespaces

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// openSelf opens this program's file, or that of another program that imports
// this package, to be executed as a container's init. Who is in the container gets at
// that file by /proc/PID/exe, with an image whose program is a link to
// /proc/self/exe for example, and where root inside may write it outside, the
// host's next container runs what was written (CVE-2019-5736). So what is
// executed is a second mount of the file, which is read-only and attached
// nowhere: no one in a container can change that. It costs some tens of µs.
//
// Without the privilege to mount, a user who may write the file gets a copy in
// memory, sealed, for about a millisecond; who may not write it needs neither.
func openSelf(ctx context.Context, program *os.File) (*os.File, error) {
	path := "/proc/self/exe"
	if program != nil {
		path = fmt.Sprintf("/proc/self/fd/%d", program.Fd())
	}
	chapter.Call(ctx, "this program, which will be init: a second mount of its file, attached nowhere", "open_tree(AT_FDCWD, %q, OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC)", path)
	tree, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err == nil {
		chapter.Call(ctx, "through which nobody in the container can write it", "mount_setattr(%d, \"\", AT_EMPTY_PATH, {attr_set=MOUNT_ATTR_RDONLY}, %d)", tree, unix.MOUNT_ATTR_SIZE_VER0)
		if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
			unix.Close(tree)
			return nil, &os.PathError{Op: "mount_setattr", Path: path, Err: err}
		}
		return os.NewFile(uintptr(tree), path), nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		file.Close()
		return nil, os.NewSyscallError("fstat", err)
	}
	// The owner may give himself the permission to write.
	if int(st.Uid) != os.Geteuid() && errors.Is(unix.Faccessat(unix.AT_FDCWD, path, unix.W_OK, unix.AT_EACCESS), unix.EACCES) {
		return file, nil
	}
	defer file.Close()
	return sealedCopy(ctx, file)
}

// sealedCopy copies a program to memory that nobody can write again.
func sealedCopy(ctx context.Context, file *os.File) (*os.File, error) {
	chapter.Call(ctx, "a copy of this program, which nobody in the container can write", "memfd_create(%q, MFD_CLOEXEC|MFD_ALLOW_SEALING)", initName)
	fd, err := unix.MemfdCreate(initName, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	memory := os.NewFile(uintptr(fd), initName)
	if _, err := io.Copy(memory, file); err != nil {
		memory.Close()
		return nil, fmt.Errorf("copy %s to memory: %w", file.Name(), err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE); err != nil {
		memory.Close()
		return nil, os.NewSyscallError("fcntl(F_ADD_SEALS)", err)
	}
	// Not the descriptor that may write: execve refuses a file that somebody can write (ETXTBSY).
	defer memory.Close()
	return os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
}
