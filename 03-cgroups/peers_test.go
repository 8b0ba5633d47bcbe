//go:build linux

package cgroups_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	chroot "drydock.example/01-chroot"
	"drydock.example/01-chroot/explain/stracetest"
	"drydock.example/01-chroot/hosttest"
	cgroups "drydock.example/03-cgroups"
)

// TestWhatOthersAskTheKernel runs limit and, where they are installed, runc and
// crun under strace, with the same limits, and holds the order of their calls on
// a cgroup against the README's table.
func TestWhatOthersAskTheKernel(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.Program("strace"), hosttest.Program("go"))
	mode, err := cgroups.Detect()
	if err != nil {
		t.Fatal(err)
	}
	column, tree := 1, "/sys/fs/cgroup"
	if mode != cgroups.V2 {
		column, tree = 2, "/sys/fs/cgroup/memory"
	}
	dir := t.TempDir()
	limit, bundle := filepath.Join(dir, "limit"), filepath.Join(dir, "bundle")
	for name, command := range map[string][]string{
		"limit": {limit, "-m", "64m", "--cpus", "0.5", "--pids", "64", "--name", "peer", "true"},
		"runc":  {"runc", "--root", dir + "/runc", "run", "--bundle", bundle, "peer"},
		"crun":  {"crun", "--root", dir + "/crun", "run", "--bundle", bundle, "peer"},
	} {
		t.Run(name, func(t *testing.T) {
			cgroup := tree + hosttest.Cgroup() + "/peer"
			if name == "limit" {
				cgroup = tree + "/drydock/peer"
				if out, err := exec.Command("go", "build", "-o", limit, "./cmd/limit").CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
			} else {
				hosttest.Require(t, hosttest.Program(name))
				peerBundle(t, bundle)
			}
			trace := filepath.Join(dir, name+".strace")
			strace := exec.Command("strace", append([]string{"-f", "-qq", "-y", "-o", trace,
				"-e", "trace=mkdir,mkdirat,write,clone,clone3,rmdir,unlinkat"}, command...)...)
			if out, err := strace.CombinedOutput(); err != nil {
				t.Skipf("requires %s to run here: %v: %s", name, err, out)
			}
			b, err := os.ReadFile(trace)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := steps(stracetest.Whole(string(b)), cgroup, mode), tableRow(t, name)[column]; got != want {
				t.Errorf("strace sees %s, and the README says %s", got, want)
			}
		})
	}
}

// peerBundle makes an OCI bundle whose program is true, with limit's limits.
func peerBundle(t *testing.T, dir string) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := chroot.Build(t.Context(), dir+"/rootfs", "true"); err != nil {
		t.Fatal(err)
	}
	type object = map[string]any
	namespaces := []object{{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}}
	b, err := json.Marshal(object{
		"ociVersion": "1.0.0",
		"process":    object{"args": []string{"true"}, "cwd": "/", "env": []string{"PATH=/usr/bin:/bin"}, "user": object{"uid": 0, "gid": 0}},
		"root":       object{"path": "rootfs"},
		"mounts":     []object{{"destination": "/proc", "type": "proc", "source": "proc"}, {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"}},
		"linux": object{
			"cgroupsPath": hosttest.Cgroup() + "/peer", "namespaces": namespaces,
			"resources": object{"memory": object{"limit": 64 << 20, "swap": 64 << 20}, "cpu": object{"quota": 50000, "period": 100000}, "pids": object{"limit": 64}},
		},
	})
	if err == nil {
		err = os.WriteFile(dir+"/config.json", b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// steps returns what a trace shows of one cgroup, in its order, as the README
// writes it; what is repeated stands there once.
func steps(trace, cgroup string, mode cgroups.Mode) string {
	of := regexp.QuoteMeta(cgroup)
	kinds := []struct {
		name string
		call *regexp.Regexp
	}{
		{"`mkdir`", regexp.MustCompile(`mkdir(at)?\(.*"` + of + `", .*\) += 0`)},
		{"the limits", regexp.MustCompile(`write\(.*<` + of + `/(memory|cpu|pids)\.`)},
		{"`clone(CLONE_INTO_CGROUP)`", regexp.MustCompile(`clone.*CLONE_INTO_CGROUP`)},
		{"0 to `tasks`", regexp.MustCompile(`write\(.*<` + of + `/tasks>, "0"`)},
		{"its number to `cgroup.procs`", regexp.MustCompile(`write\(.*<` + of + `/cgroup.procs>, "\d+"`)},
		{"1 to `cgroup.kill`", regexp.MustCompile(`write\(.*<` + of + `/cgroup.kill>, "1"`)},
		{"`rmdir`", regexp.MustCompile(`(rmdir|unlinkat)\(.*"` + of + `"`)},
	}
	var seen []string
	for line := range strings.Lines(trace) {
		for _, kind := range kinds {
			if kind.call.MatchString(line) && (mode == cgroups.V2 || !strings.Contains(kind.name, "INTO_CGROUP")) { // the flag names a place on v2 alone
				seen = append(seen, kind.name)
			}
		}
	}
	return strings.Join(slices.Compact(seen), ", ")
}

// tableRow returns the cells of the README's row for a program.
func tableRow(t *testing.T, program string) []string {
	t.Helper()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(readme), "## How Docker does it")
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if len(cells) == 3 && strings.HasPrefix(cells[0], program) {
			return cells
		}
	}
	t.Fatalf("the README has no row for %s", program)
	return nil
}
