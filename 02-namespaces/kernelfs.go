//go:build linux

package namespaces

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// attachKernel attaches a new procfs or sysfs, and keeps its descriptor: what is
// masked or read-only in there is found from it, and not by a path. A root that
// another container writes to at this moment can exchange directories between
// two walks of one path, and the mask would cover something else
// (CVE-2023-27561). For the same reason its place must be a plain directory.
func attachKernel(p *initProcess, tree int, destination string) error {
	made, err := mkdirInRoot(p.root, destination)
	if err != nil {
		unix.Close(tree)
		return err
	}
	unix.Close(made)
	target, err := openPlain(p.root, clean(destination), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		unix.Close(tree)
		return err
	}
	defer unix.Close(target)
	if p.kernel == nil {
		p.kernel = map[string]int{}
	}
	p.kernel[clean(destination)] = tree
	return attach(p, tree, target, "it becomes "+destination+" of the new root")
}

// cover forgets the mounts of attachKernel over which another one is made.
func (p *initProcess) cover(destination string) {
	path := clean(destination)
	for at, tree := range p.kernel {
		if at == path || path == "." || strings.HasPrefix(at, path+"/") {
			unix.Close(tree)
			delete(p.kernel, at)
		}
	}
}

// openCovered opens a path that is to be masked or made read-only.
func (p *initProcess) openCovered(path string) (int, error) {
	path = clean(path)
	for at, tree := range p.kernel {
		if below, ok := strings.CutPrefix(path, at+"/"); ok {
			return openInRoot(tree, below, unix.O_PATH)
		}
	}
	return openInRoot(p.root, path, unix.O_PATH)
}

// openProcfs opens the procfs through which the steps that follow tell the
// kernel about this process. The one at /proc is the container's, and who is in
// there may have covered a file of it by another, so that a limit or a label
// would be written to nowhere, or a sysctl to a stranger's file
// (CVE-2025-52881). A mount that is attached nowhere can be covered by nobody.
func openProcfs(p *initProcess) error {
	if p.Process.OOMScoreAdj == nil && len(p.Sysctl) == 0 && p.Process.ApparmorProfile == "" && p.Process.SelinuxLabel == "" {
		return nil
	}
	tree, err := newFilesystem(p, "proc", "proc", mountOptions{})
	if err == nil {
		p.proc = tree
		return nil
	}
	// In a user namespace the kernel allows no new procfs beside one that is
	// partly masked: then the container's, if it is one and this is its root.
	fd, err := unix.Open("/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: "/proc", Err: err}
	}
	const rootInode = 1 // PROC_ROOT_INO
	var fs unix.Statfs_t
	var st unix.Stat_t
	if unix.Fstatfs(fd, &fs) != nil || unix.Fstat(fd, &st) != nil || fs.Type != unix.PROC_SUPER_MAGIC || st.Ino != rootInode {
		unix.Close(fd)
		return fmt.Errorf("/proc is not a procfs: mount one there")
	}
	p.proc = fd
	return nil
}

// writeProc writes to a file of procfs, and to nothing that covers it.
func writeProc(p *initProcess, path, value, why string) error {
	chapter.Call(p.ctx, why, "write(\"/proc/%s\", %q)", path, value)
	fd, err := unix.Openat2(p.proc, path, &unix.OpenHow{
		Flags:   unix.O_WRONLY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err == unix.EXDEV {
		return fmt.Errorf("/proc/%s is covered by another mount, or leads out of /proc: %w", path, err)
	}
	if err != nil {
		return &os.PathError{Op: "open", Path: "/proc/" + path, Err: err}
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, []byte(value)); err != nil {
		return fmt.Errorf("write %q to /proc/%s: %w", value, path, err)
	}
	return nil
}
