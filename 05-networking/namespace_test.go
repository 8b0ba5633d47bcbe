//go:build linux

package networking

import (
	"os"
	"sync"
	"testing"

	"drydock.example/01-chroot/hosttest"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// inode tells namespaces apart (namespaces(7)).
func inode(t *testing.T, f *os.File) uint64 {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Fstat(int(f.Fd()), &st))
	return st.Ino
}

func TestNewNamespaceIsEmptyAndAnother(t *testing.T) {
	l := newLab(t)
	host, err := os.Open(threadNamespace)
	must(t, err)
	defer host.Close()
	a, b := newNamespace(t), newNamespace(t)
	if inode(t, a) == inode(t, host) || inode(t, a) == inode(t, b) {
		t.Error("two of the host's, the first and the second namespace are the same")
	}
	l.serve(a, "tcp", "127.0.0.1:80")
	l.answers(a, "tcp", "127.0.0.1:80", "127.0.0.1")
	l.silent(b, "tcp", "127.0.0.1:80", "that is another loopback")
	l.at(a, func() {
		links, err := netlink.LinkList()
		must(t, err)
		for _, link := range links {
			if link.Attrs().Name == "eth0" || link.Attrs().Name == "uplink" {
				t.Errorf("a new namespace has the link %s", link.Attrs().Name)
			}
		}
	})
}

// No thread of this process may stay in a namespace that it made.
func TestNewNamespaceLeavesThreadsWhereTheyWere(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	host, err := os.Readlink("/proc/self/ns/net")
	must(t, err)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5 {
				ns, err := NewNamespace(background)
				if err != nil {
					t.Error(err)
					return
				}
				ns.Close()
			}
		})
	}
	wg.Wait()
	tasks, err := os.ReadDir("/proc/self/task")
	must(t, err)
	for _, task := range tasks {
		// A thread that has ended since is in no namespace.
		if ns, err := os.Readlink("/proc/self/task/" + task.Name() + "/ns/net"); err == nil && ns != host {
			t.Errorf("thread %s is in %s, the process in %s", task.Name(), ns, host)
		}
	}
}
