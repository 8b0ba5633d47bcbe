//go:build linux

package namespaces

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/hosttest"
)

// ownedBy returns a tmpfs with a file of each owner, and a mount below it with
// one: not every file system maps owners, and this one does from Linux 6.3 on.
func ownedBy(t *testing.T, owners ...int) string {
	t.Helper()
	hosttest.Require(t, hosttest.Root, hosttest.UserNamespaces, hosttest.Kernel(6, 3))
	dir := t.TempDir()
	for _, at := range []string{dir, filepath.Join(dir, "below")} {
		if err := os.MkdirAll(at, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("tmpfs", at, "tmpfs", 0, "mode=755"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Unmount(at, unix.MNT_DETACH) })
		for _, owner := range owners {
			name := filepath.Join(at, itoa(owner))
			if err := os.WriteFile(name, nil, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(name, owner, owner); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

func TestOwnersAreMapped(t *testing.T) {
	volume := ownedBy(t, 1000)
	mapping := []specs.LinuxIDMapping{{ContainerID: 1000, HostID: 7, Size: 1}}
	userNamespace := func(s *specs.Spec) {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		s.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
		s.Linux.GIDMappings = s.Linux.UIDMappings
	}
	for name, c := range map[string]struct {
		mount       specs.Mount
		change      func(*specs.Spec)
		file, below string // the owners as seen inside
	}{
		"by the mount's own mapping": {specs.Mount{Options: []string{"bind", "idmap"}, UIDMappings: mapping, GIDMappings: mapping}, nil, "7:7", ""},
		"without the option":         {specs.Mount{Options: []string{"bind"}, UIDMappings: mapping, GIDMappings: mapping}, nil, "7:7", ""},
		"but not of the mount below": {specs.Mount{Options: []string{"rbind", "idmap"}, UIDMappings: mapping, GIDMappings: mapping}, nil, "7:7", "1000:1000"},
		"of the mount below too":     {specs.Mount{Options: []string{"rbind", "ridmap"}, UIDMappings: mapping, GIDMappings: mapping}, nil, "7:7", "7:7"},
		"by the container's mapping": {specs.Mount{Options: []string{"bind", "idmap"}}, userNamespace, "1000:1000", ""},
		"not at all":                 {specs.Mount{Options: []string{"bind"}}, userNamespace, "65534:65534", ""},
	} {
		t.Run(name, func(t *testing.T) {
			root := openRoot(t)
			owner := func(path string) string {
				spec := NewSpec(root, "probe", "owner", path)
				m := c.mount
				m.Source, m.Destination = volume, "/volume"
				spec.Mounts = append(spec.Mounts, m)
				if c.change != nil {
					c.change(spec)
				}
				out, _ := run(t, spec, Options{})
				return strings.TrimSpace(out)
			}
			if got := owner("/volume/1000"); got != c.file {
				t.Errorf("owner %s, want %s", got, c.file)
			}
			if c.below != "" {
				if got := owner("/volume/below/1000"); got != c.below {
					t.Errorf("owner in the mount below %s, want %s", got, c.below)
				}
			}
		})
	}
}

func TestOwnersThatCannotBeMapped(t *testing.T) {
	hosttest.Require(t, hosttest.UserNamespaces)
	for want, m := range map[string]specs.Mount{
		"ids can be mapped in a bind mount only":                   {Type: "tmpfs", Source: "tmpfs", Options: []string{"idmap"}},
		"idmap: want uidMappings and gidMappings of the mount":     {Source: t.TempDir(), Options: []string{"bind", "idmap"}},
		"mount /nosuch (bind) on /volume: open_tree /nosuch: no s": {Source: "/nosuch", Options: []string{"bind", "idmap"}},
	} {
		spec := NewSpec(newRoot(t), "probe")
		m.Destination = "/volume"
		spec.Mounts = append(spec.Mounts, m)
		if _, err := Create(t.Context(), spec, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// openRoot is a root that every user may enter.
func openRoot(t *testing.T) string {
	t.Helper()
	root := newRoot(t)
	for dir := root; dir != "/"; dir = filepath.Dir(dir) {
		if st, err := os.Stat(dir); err != nil || st.Mode()&1 == 0 {
			os.Chmod(dir, 0o755)
		}
	}
	for _, dir := range []string{"proc", "dev", "sys", "volume"} {
		os.Mkdir(filepath.Join(root, dir), 0o755)
	}
	return root
}

// TestASourceThatRootInsideDoesNotReach binds a directory that only the host's
// root may enter.
func TestASourceThatRootInsideDoesNotReach(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.UserNamespaces)
	closed := filepath.Join(t.TempDir(), "closed")
	if err := os.MkdirAll(filepath.Join(closed, "volume"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	spec := NewSpec(openRoot(t), "probe")
	spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	spec.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
	spec.Linux.GIDMappings = spec.Linux.UIDMappings
	spec.Mounts = append(spec.Mounts, specs.Mount{Destination: "/volume", Source: filepath.Join(closed, "volume"), Options: []string{"rbind", "ro"}})
	if v := look(t, spec, Options{}); !strings.Contains(v.Mountinfo, " /volume ro,") {
		t.Errorf("no read-only mount at /volume:\n%s", v.Mountinfo)
	}
}

func TestNewUserNamespace(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.UserNamespaces)
	m := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 10}}
	users, err := newUserNamespace(t.Context(), m, m)
	if err != nil {
		t.Fatal(err)
	}
	defer users.Close()
	kind, err := unix.IoctlRetInt(int(users.Fd()), unix.NS_GET_NSTYPE)
	if err != nil || kind != unix.CLONE_NEWUSER {
		t.Errorf("namespace of kind %#x, %v", kind, err)
	}
	bad := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1, Size: 10}, {ContainerID: 5, HostID: 100, Size: 10}}
	if _, err := newUserNamespace(context.Background(), bad, bad); !errors.Is(err, unix.EINVAL) {
		t.Errorf("overlapping mappings: %v", err)
	}
}

func TestRemount(t *testing.T) {
	spec := NewSpec(newRoot(t), "probe")
	spec.Mounts = append(spec.Mounts,
		specs.Mount{Destination: "/dev/shm", Options: []string{"remount", "bind", "noexec", "ro"}},
		specs.Mount{Destination: "/dev", Options: []string{"remount", "size=1m"}})
	v := look(t, spec, Options{})
	for at, want := range map[string]string{" /dev/shm ": " ro,nosuid,nodev,noexec", " /dev ": "size=1024k"} {
		found := false
		for line := range strings.Lines(v.Mountinfo) {
			found = found || strings.Contains(line, at) && strings.Contains(line, want)
		}
		if !found {
			t.Errorf("no mount%swith%s:\n%s", at, want, v.Mountinfo)
		}
	}
}
