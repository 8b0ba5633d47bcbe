//go:build linux

package v1

import (
	"context"
	"fmt"
	"os"
	"runtime"

	"drydock.example/03-cgroups/cgroupfs"
	"golang.org/x/sys/unix"
)

// Spawn calls start on a thread that is in the cgroup of every hierarchy, and
// takes the thread back afterwards. The process that start forks, from the
// goroutine that it is called on, is born in all of them: it is never seen
// outside, and not one of its pages or children is missed.
//
// It is also the fast way. A write to cgroup.procs takes a lock that first
// waits for every fork and exit of the machine, 5 to 20 ms; a thread that
// writes 0 to the older tasks file moves itself, for which the kernel needs no
// lock (cgroup_procs_write_start in kernel/cgroup/cgroup.c).
//
// While start runs, the thread counts as one task of the cgroup and is under
// its device rules and its CPU quota, so start must do no more than it has to.
func (c *Cgroup) Spawn(ctx context.Context, start func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if unix.Gettid() == unix.Getpid() {
		// The cgroup of the main thread is that of the process, which a Kill of
		// the cgroup must not hit. While it is held here, the next goroutine
		// gets another thread.
		done := make(chan error)
		go func() { done <- c.spawn(ctx, start) }()
		return <-done
	}
	return c.spawn(ctx, start)
}

func (c *Cgroup) spawn(ctx context.Context, start func() error) error {
	// The way back is opened first: start may take the thread into another
	// mount namespace, where these paths lead elsewhere.
	back, err := c.openOwn()
	defer func() {
		for _, f := range back {
			f.Close()
		}
	}()
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	for _, h := range c.hierarchies {
		err = cgroupfs.Write(ctx, h.dir+"/tasks", "0", "this thread steps in, so that the process it forks is born here")
		if err != nil {
			break
		}
	}
	if err == nil {
		err = start()
	}
	for _, f := range back {
		chapter.Call(ctx, "the thread steps out again", "write(%q, %q)", f.Name(), "0")
		if _, e := unix.Write(int(f.Fd()), []byte("0")); e != nil {
			// The goroutine stays locked: when it ends so does its thread,
			// which is fit for nothing else.
			return fmt.Errorf("leave the cgroup: %w", &os.PathError{Op: "write 0 to", Path: f.Name(), Err: e})
		}
	}
	runtime.UnlockOSThread()
	return err
}

// Tasks opens the tasks file of each hierarchy, for a process of another program
// that inherits the descriptors: the thread of it that writes 0 to them is in the
// cgroup, without the wait of [Cgroup.Enter]. Whether it may is decided by who
// has opened the file, so the process needs neither the right nor the path.
//
// A process with more threads is in two places until execve(2), which leaves it
// the thread that called.
func (c *Cgroup) Tasks() (files []*os.File, err error) {
	for _, h := range c.hierarchies {
		f, err := openTasks(h.dir)
		if err != nil {
			for _, f := range files {
				f.Close()
			}
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

func openTasks(dir string) (*os.File, error) {
	path := dir + "/tasks"
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// openOwn opens the tasks files of this process's own cgroups. What it returns
// beside an error is open too.
func (c *Cgroup) openOwn() ([]*os.File, error) {
	var files []*os.File
	for _, h := range c.hierarchies {
		dir, err := h.Locate(".", func() (string, error) { return cgroupfs.Own(h.Controllers[0]) })
		if err != nil {
			return files, err
		}
		f, err := openTasks(dir)
		if err != nil {
			return files, err
		}
		files = append(files, f)
	}
	return files, nil
}
