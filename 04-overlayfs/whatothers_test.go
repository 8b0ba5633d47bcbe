//go:build linux

package overlayfs

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"drydock.example/01-chroot/explain/stracetest"
	"drydock.example/01-chroot/hosttest"
	"golang.org/x/sys/unix"
)

// TestWhatOthersAskTheKernel has stack, and podman and umoci where they are
// installed, unpack the same layer under strace, and holds what they do for one
// file of it against the README's table.
func TestWhatOthersAskTheKernel(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.Program("strace"))
	programs, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	layer := archive(t, directory("d", 0o755), regular("d/file", "x").mode(0o4755))
	dir := scratch(t)
	write(t, dir+"/layer.tar", string(layer))
	image := writeLayout(t, dir, layer)
	t.Cleanup(func() { _ = unix.Unmount(dir+"/root/overlay", unix.MNT_DETACH) })
	for column, command := range map[int][]string{
		1: {programs + "/stack", "--picture", "/", dir + "/layer.tar"},
		2: {"podman", "--root", dir + "/root", "--runroot", dir + "/run", "--storage-driver", "overlay", "pull", "--quiet", "oci:" + image.dir + ":test"},
		3: {"umoci", "unpack", "--image", image.dir + ":test", dir + "/bundle"},
	} {
		name := command[0][strings.LastIndex(command[0], "/")+1:]
		t.Run(name, func(t *testing.T) {
			hosttest.Require(t, hosttest.Program(command[0]))
			trace := dir + "/" + name + ".strace"
			strace := exec.Command("strace", append([]string{"-f", "-qq", "-o", trace,
				"-e", "trace=openat,openat2,pivot_root,chmod,fchmod,fchmodat,fsync,fdatasync,syncfs,renameat,renameat2"}, command...)...)
			strace.Env = append(os.Environ(), "TMPDIR="+dir)
			if out, err := strace.CombinedOutput(); err != nil {
				t.Skipf("requires %s to run here: %v: %s", name, err, out)
			}
			seen := stracetest.Whole(read(t, trace))
			for _, row := range tableRows(t) {
				for call := range strings.SplitSeq(row[column], "` `") {
					call = strings.Trim(call, "`")
					if call == "–" {
						for _, other := range regexp.MustCompile("`(\\w+)\\(").FindAllStringSubmatch(strings.Join(row, " "), -1) {
							if regexp.MustCompile(`(?m)^\d+ +` + other[1] + `\(.* = 0`).MatchString(seen) {
								t.Errorf("%s: strace sees a call of %s, and the README none", row[0], other[1])
							}
						}
						continue
					}
					pattern := strings.ReplaceAll(regexp.QuoteMeta(call), "…", ".*")
					if !regexp.MustCompile(`(?m)^\d+ +` + pattern + `\s+= \d`).MatchString(seen) {
						t.Errorf("%s: strace does not see %s", row[0], call)
					}
				}
			}
		})
	}
}

// tableRows returns the cells of the README's table.
func tableRows(t *testing.T) (rows [][]string) {
	t.Helper()
	_, text, _ := strings.Cut(read(t, "README.md"), "## How Docker does it")
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if len(cells) == 4 && strings.Contains(line, "`") && !strings.HasPrefix(line, "| strace sees") {
			for i := range cells {
				cells[i] = strings.ReplaceAll(strings.TrimSpace(cells[i]), `\|`, "|")
			}
			rows = append(rows, cells)
		}
	}
	if len(rows) == 0 {
		t.Fatal("the README has no table")
	}
	return rows
}
