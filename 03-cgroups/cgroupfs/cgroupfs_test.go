//go:build linux

package cgroupfs

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
)

func TestMountTable(t *testing.T) {
	for name, test := range map[string]struct {
		table   string
		want    Mounts
		unified bool
	}{
		"v2": {
			"25 18 0:22 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
			Mounts{V2: &Mount{Dir: "/sys/fs/cgroup", Root: "/"}}, true,
		},
		"v1, two controllers in one hierarchy": {
			"32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n" +
				"40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/lib/agent,name=systemd\n",
			Mounts{V1: []Mount{
				{Dir: "/sys/fs/cgroup/cpu,cpuacct", Root: "/", Controllers: []string{"cpu", "cpuacct"}},
				{Dir: "/sys/fs/cgroup/systemd", Root: "/", Controllers: []string{"name=systemd"}},
			}}, false,
		},
		"hybrid, inside a container, mounted twice": {
			"35 31 0:32 /docker/1 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n" +
				"36 31 0:32 /docker/1 /mnt/a\\040b ro - cgroup cgroup rw,memory\n" +
				"41 31 0:38 /docker/1 /mnt/two rw - cgroup2 cgroup2 rw\n" +
				"42 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
			Mounts{
				V1: []Mount{{Dir: "/sys/fs/cgroup/memory", Root: "/docker/1", Controllers: []string{"memory"}}},
				V2: &Mount{Dir: "/sys/fs/cgroup/unified", Root: "/"},
			}, false,
		},
		"v2 with a stray v1 hierarchy": {
			"25 18 0:22 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n26 18 0:23 / /net_cls rw - cgroup net_cls rw,net_cls\n",
			Mounts{V1: []Mount{{Dir: "/net_cls", Root: "/", Controllers: []string{"net_cls"}}}, V2: &Mount{Dir: "/sys/fs/cgroup", Root: "/"}}, true,
		},
		"none": {"22 1 0:5 / /proc rw - proc proc rw\n", Mounts{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseMounts([]byte(test.table))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if got.Unified() != test.unified {
				t.Errorf("Unified: %v", got.Unified())
			}
		})
	}
}

func TestOwnCgroup(t *testing.T) {
	got, err := parseCgroup("12:cpu,cpuacct:/a\n1:name=systemd:/b:c\n0::/d\n")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"cpu": "/a", "cpuacct": "/a", "name=systemd": "/b:c", "": "/d"}, got); diff != "" {
		t.Error(diff)
	}
	if _, err := parseCgroup("nonsense\n"); err == nil {
		t.Error("no error")
	}
}

func TestLocate(t *testing.T) {
	own := func() (string, error) { return "/docker/1/inner", nil }
	for name, test := range map[string]struct {
		mount Mount
		path  string
		want  string
	}{
		"absolute":                       {Mount{Dir: "/cg", Root: "/"}, "/a/b", "/cg/a/b"},
		"relative":                       {Mount{Dir: "/cg", Root: "/"}, "a", "/cg/docker/1/inner/a"},
		"relative in a part of the tree": {Mount{Dir: "/cg", Root: "/docker/1"}, "a", "/cg/inner/a"},
		"absolute in a part of the tree": {Mount{Dir: "/cg", Root: "/docker/1"}, "/a", "/cg/a"},
	} {
		if got, err := test.mount.Locate(test.path, own); err != nil || got != test.want {
			t.Errorf("%s: %s, %v; want %s", name, got, err, test.want)
		}
	}
	_, err := Mount{Dir: "/cg", Root: "/elsewhere"}.Locate("a", own)
	if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "own cgroup /docker/1/inner is not below /elsewhere, which is what is mounted at /cg") {
		t.Errorf("got %v", err)
	}
}

func TestClean(t *testing.T) {
	for path, want := range map[string]string{"/a//b/": "/a/b", "a/./b": "a/b", "/a..b": "/a..b"} {
		if got, err := Clean(path); err != nil || got != want {
			t.Errorf("%s: %s, %v", path, got, err)
		}
	}
}

func TestReading(t *testing.T) {
	dir := t.TempDir()
	file := func(content string) string {
		path := filepath.Join(dir, "file")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for content, want := range map[string]uint64{"5\n": 5, "max\n": NoLimit, "9223372036854771712\n": NoLimit, "18446744073709551615\n": math.MaxUint64} {
		if got, err := ReadUint(file(content)); err != nil || got != want {
			t.Errorf("%q: %d, %v", content, got, err)
		}
	}
	m, err := ReadMap(file("low 0\nmax 7\nname text\n"))
	if diff := cmp.Diff(map[string]uint64{"low": 0, "max": 7}, m); err != nil || diff != "" {
		t.Error(err, diff)
	}
	long := strings.Repeat("4194304\n", 5000)
	if pids, err := ReadPids(file(long)); err != nil || len(pids) != 5000 {
		t.Errorf("%d pids, %v", len(pids), err)
	}
	var path *fs.PathError
	if _, err := Read(filepath.Join(dir, "none")); !errdefs.IsNotFound(err) || !errors.As(err, &path) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if s := ListPids([]int{1, 2, 3, 4, 5, 6, 7}); s != "1, 2, 3, 4, 5 and 2 more" {
		t.Error(s)
	}
}
