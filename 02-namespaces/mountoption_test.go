//go:build linux

package namespaces

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// FuzzMountOptions holds what must be true of any list of options: an attribute
// is set or cleared and not both, the access time is one value of its field, and
// an option that is no mount's reaches the file system as it is.
func FuzzMountOptions(f *testing.F) {
	for _, list := range []string{
		"ro,nosuid,noexec", "rw,ro,rw", "rbind,rro,rrelatime", "noatime,relatime,strictatime", "rprivate,shared,runbindable",
		"size=64k,mode=755", "idmap,ridmap,tmpcopyup,remount", "r,,=,r=", "context=a:b,c", "rslave,rrw,rnosymfollow",
	} {
		f.Add(list)
	}
	known := MountOptions()
	f.Fuzz(func(t *testing.T, list string) {
		options := strings.Split(list, ",")
		o := parseMountOptions(options)
		for _, a := range []unix.MountAttr{o.attr, o.attrRecursive} {
			if both := a.Attr_set & a.Attr_clr &^ unix.MOUNT_ATTR__ATIME; both != 0 {
				t.Errorf("%q: set and cleared: %#x", list, both)
			}
			switch a.Attr_set & unix.MOUNT_ATTR__ATIME {
			case unix.MOUNT_ATTR_RELATIME, unix.MOUNT_ATTR_NOATIME, unix.MOUNT_ATTR_STRICTATIME:
			default:
				t.Errorf("%q: access time %#x", list, a.Attr_set&unix.MOUNT_ATTR__ATIME)
			}
			if a.Attr_set&unix.MOUNT_ATTR__ATIME != 0 && a.Attr_clr&unix.MOUNT_ATTR__ATIME != unix.MOUNT_ATTR__ATIME {
				t.Errorf("%q: the access time is set and its field not cleared", list)
			}
			if a.Attr_set&unix.MOUNT_ATTR_IDMAP != 0 {
				t.Errorf("%q: an attribute that needs a descriptor", list)
			}
		}
		for _, option := range options {
			if option != "" && !slices.Contains(known, option) && !slices.Contains(o.data, option) {
				t.Errorf("%q: %q is lost", list, option)
			}
		}
	})
}
