//go:build linux

package namespaces

import "testing"

// Where the hierarchies are mounted is the host's choice, and what of them, when
// the host is a container itself. Chapter 7 looks at the mounts that come of it.
func TestWhereACgroupIsFound(t *testing.T) {
	const table = `24 23 0:28 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755
25 24 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
26 24 0:30 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
27 24 0:31 /docker/ab /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
28 24 0:32 /.. /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
29 23 0:31 / /mnt rw - cgroup cgroup rw,memory
`
	for _, c := range []struct {
		h    hierarchy
		want string
	}{
		{hierarchy{fstype: "cgroup", controllers: []string{"cpu", "cpuacct"}, path: "/a/b"}, "/sys/fs/cgroup/cpu,cpuacct/a/b"},
		{hierarchy{fstype: "cgroup", controllers: []string{"name=systemd"}, path: "/"}, "/sys/fs/cgroup/systemd"},
		{hierarchy{fstype: "cgroup", controllers: []string{"memory"}, path: "/docker/ab/c"}, "/sys/fs/cgroup/memory/c"},
		{hierarchy{fstype: "cgroup", controllers: []string{"memory"}, path: "/docker/abc"}, "/mnt/docker/abc"},
		{hierarchy{fstype: "cgroup", controllers: []string{"cpu", "cpuacct"}, path: "/../c"}, ""},
		{hierarchy{fstype: "cgroup", controllers: []string{"net_cls"}, path: "/c"}, ""},
		{hierarchy{fstype: "cgroup2", path: "/../c"}, "/sys/fs/cgroup/unified/c"},
	} {
		if got := c.h.find(table); got != c.want {
			t.Errorf("%s of %v is %q, want %q", c.h.path, c.h.controllers, got, c.want)
		}
	}
}
