//go:build linux

package namespaces

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// openConsole makes a terminal in the container's own devpts, sends its master
// to the console socket, and makes its other end the process's controlling
// terminal and its three streams.
func openConsole(p *initProcess) error {
	if !p.Process.Terminal {
		return nil
	}
	if p.Console == 0 {
		return errors.New("process.terminal is set, and there is no console socket to send the terminal to")
	}
	chapter.Call(p.ctx, "a new terminal, from the container's own devpts", "openat(AT_FDCWD, \"/dev/pts/ptmx\", O_RDWR|O_NOCTTY|O_CLOEXEC)")
	master, err := unix.Open("/dev/pts/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: "/dev/pts/ptmx", Err: err}
	}
	defer unix.Close(master)
	// The image could have put anything there: only a devpts makes terminals.
	var st unix.Statfs_t
	if err := unix.Fstatfs(master, &st); err != nil || st.Type != unix.DEVPTS_SUPER_MAGIC {
		return errors.New("/dev/pts/ptmx is not on a devpts file system: mount one at /dev/pts")
	}
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return os.NewSyscallError("ioctl(TIOCSPTLCK)", err)
	}
	if size := p.Process.ConsoleSize; size != nil && (size.Height != 0 || size.Width != 0) {
		if err := unix.IoctlSetWinsize(master, unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(size.Height), Col: uint16(size.Width)}); err != nil {
			return os.NewSyscallError("ioctl(TIOCSWINSZ)", err)
		}
	}
	// TIOCGPTPEER gives the other end without a path, which could lead to another terminal.
	peer, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return os.NewSyscallError("ioctl(TIOCGPTPEER)", errno)
	}
	slave := int(peer)
	defer unix.Close(slave)
	chapter.Call(p.ctx, "the terminal's other side goes to whoever shows it", "sendmsg(%d, {SCM_RIGHTS, cmsg_data=[%d]}, 0)", p.Console, master)
	if err := unix.Sendmsg(p.Console, []byte("/dev/ptmx"), unix.UnixRights(master), nil, 0); err != nil {
		return fmt.Errorf("send the terminal to the console socket: %w", os.NewSyscallError("sendmsg", err))
	}
	if err := unix.Fchown(slave, int(p.Process.User.UID), -1); err != nil && err != unix.EPERM && err != unix.EROFS {
		return os.NewSyscallError("fchown", err)
	}
	if err := bindConsole(p, slave); err != nil {
		return err
	}
	chapter.Call(p.ctx, "it is the terminal that ctrl-c comes from", "ioctl(%d, TIOCSCTTY, 0)", slave)
	if err := unix.IoctlSetInt(slave, unix.TIOCSCTTY, 0); err != nil {
		return os.NewSyscallError("ioctl(TIOCSCTTY)", err)
	}
	for fd := range 3 {
		if err := unix.Dup3(slave, fd, 0); err != nil {
			return os.NewSyscallError("dup3", err)
		}
	}
	return nil
}

// bindConsole makes the terminal /dev/console, where programs look for it.
func bindConsole(p *initProcess, slave int) error {
	if p.Root == nil {
		return nil // the console is that of the container's first process
	}
	tree, err := unix.OpenTree(slave, "", unix.AT_EMPTY_PATH|unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("open_tree", err)
	}
	defer unix.Close(tree)
	made, err := touchInRoot(p.root, "/dev/console")
	if err != nil {
		return err
	}
	unix.Close(made)
	// A link here would put the terminal over another file, which may be one that is written later (CVE-2025-52565).
	target, err := openPlain(p.root, "dev/console", unix.O_PATH)
	if err != nil {
		return err
	}
	defer unix.Close(target)
	return attach(p, tree, target, "the terminal by its old name")
}
