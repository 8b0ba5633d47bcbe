package doctor

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	scratchSpace = 1 << 30
	noSpace      = 64 << 20
)

// scratch judges a directory for temporary files.
func scratch(dir string) Result {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return Result{
			Status: Missing, Found: (&os.PathError{Op: "statfs", Path: dir, Err: err}).Error(),
			Why:  "the directory for temporary files is not there",
			Cure: []string{"sudo mkdir -m 1777 " + dir},
		}
	}
	if st.Flags&unix.ST_NOEXEC != 0 {
		return Result{
			Status: Missing, Found: dir + " is mounted noexec",
			Breaks: `go run and go test: "fork/exec …: permission denied"`,
			Why:    "they build a program there and start it",
			Cure:   []string{"export TMPDIR=$HOME/tmp && mkdir -p $TMPDIR", "sudo mount -o remount,exec " + mountPoint(dir)},
		}
	}
	return space(dir, st.Bavail*uint64(st.Bsize), scratchSpace, "builds and tests that need more")
}

// space judges the number of bytes that are free in dir.
func space(dir string, free, want uint64, breaks string) Result {
	found := fmt.Sprintf("%s has %s free", dir, bytes(free))
	if free >= want {
		return Fine("%s", found)
	}
	r := Result{
		Status: Limited, Found: found, Breaks: breaks,
		Why:  fmt.Sprintf("%s is the least to work with", bytes(want)),
		Cure: []string{"df -h " + dir + "    # and remove what is not needed, or use another disk"},
	}
	if free < noSpace {
		r.Status = Missing
	}
	return r
}

// Space judges the room for n bytes and more in dir; breaks is what needs it.
func Space(dir string, n uint64, breaks string) Result {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return Result{Status: Unknown, Found: (&os.PathError{Op: "statfs", Path: dir, Err: err}).Error()}
	}
	// Some file systems (btrfs) count no inodes.
	if st.Files > 0 && st.Ffree < 10000 {
		return Result{
			Status: Limited, Found: fmt.Sprintf("%s has room for %d files", dir, st.Ffree), Breaks: breaks,
			Why:  "an image has tens of thousands of files, and each takes an inode",
			Cure: []string{"df -i " + dir + "    # and remove what is not needed, or use another disk"},
		}
	}
	return space(dir, st.Bavail*uint64(st.Bsize), n, breaks)
}

func bytes(n uint64) string {
	for _, unit := range []struct {
		size uint64
		name string
	}{{1 << 40, "TiB"}, {1 << 30, "GiB"}, {1 << 20, "MiB"}} {
		if n >= unit.size {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(unit.size), unit.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}

// mountPoint returns the mount that dir is in: where the device changes on the
// way up. A bind mount of the same device is not noticed.
func mountPoint(dir string) string {
	var here, above unix.Stat_t
	for dir = filepath.Clean(dir); dir != "/"; dir = filepath.Dir(dir) {
		if unix.Stat(dir, &here) != nil || unix.Stat(filepath.Dir(dir), &above) != nil || here.Dev != above.Dev {
			break
		}
	}
	return dir
}
