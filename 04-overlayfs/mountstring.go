//go:build linux

package overlayfs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mount mounts o by mount(2), which takes all options in one string of at most
// a page. Where the layers' paths do not fit, or hold the characters that
// separate options, each directory is opened and the kernel is told the
// descriptors' numbers: seen from /proc/self/fd, "7" is the name of a
// directory, and a page has room for a thousand of those.
func (o *overlay) mount(ctx context.Context, target string) error {
	flags, flagName := uintptr(0), "0"
	if o.readonly || o.upper == "" {
		flags, flagName = unix.MS_RDONLY, "MS_RDONLY"
	}
	mount := func(options string) error {
		chapter.Call(ctx, "the merged view of the layers", "mount(\"overlay\", %q, \"overlay\", %s, %q)", target, flagName, options)
		if err := unix.Mount("overlay", target, "overlay", flags, options); err != nil {
			return &os.PathError{Op: "mount " + options, Path: target, Err: err}
		}
		return nil
	}
	dirs := append([]string{}, o.lower...)
	if o.upper != "" {
		dirs = append(dirs, o.upper, o.work)
	}
	options := o.string(dirs)
	if len(options) < os.Getpagesize() && !strings.ContainsAny(strings.Join(dirs, ""), `\:,`) {
		return mount(options)
	}

	target, err := filepath.Abs(target)
	if err != nil {
		return err
	}
	for i, dir := range dirs {
		fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return &os.PathError{Op: "open", Path: dir, Err: err}
		}
		defer unix.Close(fd)
		dirs[i] = strconv.Itoa(fd)
	}
	done := make(chan error)
	go func() {
		// A working directory belongs to the whole process, unless a thread
		// leaves the others' (CLONE_FS). There is no way back, so the thread is
		// never unlocked and ends with this function.
		runtime.LockOSThread()
		chapter.Call(ctx, "a working directory for this thread alone", "unshare(CLONE_FS)")
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			done <- os.NewSyscallError("unshare CLONE_FS", err)
			return
		}
		chapter.Call(ctx, "where an open directory's name is its number", `chdir("/proc/self/fd")`)
		if err := unix.Chdir("/proc/self/fd"); err != nil {
			done <- fmt.Errorf("chdir /proc/self/fd: %w", err)
			return
		}
		done <- mount(o.string(dirs))
	}()
	return <-done
}

// string returns the options with dirs in the place of o's directories: the
// lower ones and then, if there is an upper, upper and work.
func (o *overlay) string(dirs []string) string {
	n := len(o.lower)
	options := []string{"lowerdir=" + strings.Join(dirs[:n], ":")}
	if o.upper != "" {
		options = append(options, "upperdir="+dirs[n], "workdir="+dirs[n+1])
	}
	return strings.Join(append(options, o.options...), ",")
}
