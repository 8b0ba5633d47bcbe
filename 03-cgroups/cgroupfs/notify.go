//go:build linux

package cgroupfs

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// Watched is a flat keyed control file (see [ReadMap]) whose changes are events.
type Watched struct {
	Path     string
	Counters []Counter               // those first that go up first: changes seen together are told in this order
	States   map[string][2]EventKind // keys that are 0 or 1
}

// Counter is a key that counts events of a kind.
type Counter struct {
	Key  string
	Kind EventKind
}

// Notify watches files of the cgroup dir. The kernel announces a change of such
// a file as inotify's IN_MODIFY (cgroup-v2.rst, "memory.events"; kernfs_notify
// in fs/kernfs/file.c). When Notify has returned, nothing that happens is
// missed; run hands it to send until the cgroup is removed, send returns false
// or ctx ends. run must be called: it closes what Notify has opened.
func Notify(ctx context.Context, dir string, files []Watched) (run func(send func(Event) bool), err error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	// A descriptor that the runtime polls: a goroutine that waits for it costs no thread.
	inotify := os.NewFile(uintptr(fd), "inotify")
	w := &watcher{inotify: inotify, name: filepath.Base(dir), files: map[int32]*watchedFile{}}
	defer func() {
		if err != nil {
			inotify.Close()
		}
	}()
	add := func(path string, mask uint32) (int32, error) {
		wd, err := unix.InotifyAddWatch(fd, path, mask)
		if err != nil {
			return 0, refuse("inotify_add_watch", path, err)
		}
		return int32(wd), nil
	}
	// The parent tells: rmdir(2) of a cgroup is no IN_DELETE_SELF, as the kernel keeps the inode's link count.
	if w.parent, err = add(filepath.Dir(dir), unix.IN_DELETE|unix.IN_ONLYDIR); err != nil {
		return nil, err
	}
	if !Exists(dir) {
		return nil, refuse("watch", dir, unix.ENOENT)
	}
	for _, f := range files {
		wd, err := add(f.Path, unix.IN_MODIFY)
		if errdefs.IsNotFound(err) {
			continue // a controller that this cgroup has not
		}
		if err != nil {
			return nil, err
		}
		// After the watch: what changes between the two is told twice, not never.
		last, err := ReadMap(f.Path)
		if err != nil {
			return nil, err
		}
		w.files[wd] = &watchedFile{f, last}
	}
	return func(send func(Event) bool) {
		stop := context.AfterFunc(ctx, func() { _ = inotify.SetReadDeadline(time.Unix(1, 0)) })
		defer stop()
		defer inotify.Close()
		w.run(send)
	}, nil
}

type watcher struct {
	inotify *os.File
	parent  int32 // its watch descriptor
	name    string
	files   map[int32]*watchedFile // by watch descriptor
}

type watchedFile struct {
	Watched
	last map[string]uint64
}

func (w *watcher) run(send func(Event) bool) {
	buf := make([]byte, 4096)
	for {
		n, err := w.inotify.Read(buf)
		if err != nil {
			return // the deadline: ctx has ended
		}
		changed, gone := w.parse(buf[:n])
		for _, f := range changed {
			now, err := ReadMap(f.Path)
			if err != nil {
				continue // the cgroup goes, and the next notice says so
			}
			if !f.tell(now, send) {
				return
			}
		}
		if gone {
			// Only an empty cgroup can be removed; its last notice may have come too late to be read.
			for _, f := range w.files {
				if !f.tell(f.emptied(), send) {
					return
				}
			}
			return
		}
	}
}

// parse reads inotify(7)'s records: wd, mask, cookie, length, name.
func (w *watcher) parse(b []byte) (changed map[int32]*watchedFile, gone bool) {
	changed = map[int32]*watchedFile{}
	for len(b) >= unix.SizeofInotifyEvent {
		wd, mask, length := int32(binary.NativeEndian.Uint32(b)), binary.NativeEndian.Uint32(b[4:]), binary.NativeEndian.Uint32(b[12:])
		end := min(len(b), unix.SizeofInotifyEvent+int(length))
		name := unix.ByteSliceToString(b[unix.SizeofInotifyEvent:end])
		b = b[end:]
		if wd == w.parent && (mask&unix.IN_DELETE != 0 && name == w.name || mask&unix.IN_IGNORED != 0) {
			gone = true
		}
		if f := w.files[wd]; f != nil && mask&unix.IN_MODIFY != 0 {
			changed[wd] = f
		}
		if mask&unix.IN_Q_OVERFLOW != 0 {
			changed = w.files
		}
	}
	return changed, gone
}

// emptied is the file's last content with no process left.
func (f *watchedFile) emptied() map[string]uint64 {
	now := map[string]uint64{}
	for key, n := range f.last {
		now[key] = n
	}
	if _, ok := now["populated"]; ok {
		now["populated"] = 0
	}
	return now
}

// tell sends the difference between the file's last content and this one.
func (f *watchedFile) tell(now map[string]uint64, send func(Event) bool) bool {
	last := f.last
	f.last = now
	for _, c := range f.Counters {
		if n := now[c.Key]; n > last[c.Key] && !send(Event{c.Kind, n - last[c.Key]}) {
			return false
		}
	}
	for key, kinds := range f.States {
		if n := now[key]; n != last[key] && n < 2 && !send(Event{kinds[n], 1}) {
			return false
		}
	}
	return true
}

// NotifyEventfd asks a v1 controller for the events of one of its files by an
// eventfd (cgroup-v1/memory.rst, "OOM Control"). The rules for
// run are those of [Notify].
func NotifyEventfd(ctx context.Context, dir, file string, kind EventKind, why string) (run func(send func(Event) bool), err error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	eventfd := os.NewFile(uintptr(fd), "eventfd")
	source, err := unix.Open(dir+"/"+file, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, errors.Join(refuse("open", dir+"/"+file, err), eventfd.Close())
	}
	// The kernel keeps what it needs of it.
	defer unix.Close(source)
	if err := Write(ctx, dir+"/cgroup.event_control", strconv.Itoa(fd)+" "+strconv.Itoa(source), why); err != nil {
		return nil, errors.Join(err, eventfd.Close())
	}
	return func(send func(Event) bool) {
		stop := context.AfterFunc(ctx, func() { _ = eventfd.SetReadDeadline(time.Unix(1, 0)) })
		defer stop()
		defer eventfd.Close() // which also takes the request back
		var count [8]byte
		for {
			if _, err := eventfd.Read(count[:]); err != nil {
				return
			}
			// The removal of the cgroup is announced in the same way.
			if !Exists(dir) || !send(Event{kind, binary.NativeEndian.Uint64(count[:])}) {
				return
			}
		}
	}, nil
}
