//go:build linux

package namespaces

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// mountOptions is a mount's option list, sorted by who understands what.
type mountOptions struct {
	bind, recursive bool
	copyUp          bool           // tmpcopyup: a tmpfs begins with what stood at its place
	remount         bool           // change the mount that is there
	idmap, ridmap   bool           // other owners than on the disk; ridmap: on the mounts below too
	attr            unix.MountAttr // of the mount: ro, nosuid … (mount_setattr(2))
	attrRecursive   unix.MountAttr // the same for all mounts below: rro, rnosuid …
	propagation     []propagation
	data            []string // of the file system: size=64k, mode=755 …
	text            []string // the attributes as strace prints them
}

type propagation struct {
	flag      uint64
	recursive bool
}

type attribute struct {
	flag  uint64
	clear bool
	text  string
}

// attributes are the options that change one mount, not its file system.
var attributes = map[string]attribute{
	"ro":            {unix.MOUNT_ATTR_RDONLY, false, "MOUNT_ATTR_RDONLY"},
	"rw":            {unix.MOUNT_ATTR_RDONLY, true, ""},
	"nosuid":        {unix.MOUNT_ATTR_NOSUID, false, "MOUNT_ATTR_NOSUID"},
	"suid":          {unix.MOUNT_ATTR_NOSUID, true, ""},
	"nodev":         {unix.MOUNT_ATTR_NODEV, false, "MOUNT_ATTR_NODEV"},
	"dev":           {unix.MOUNT_ATTR_NODEV, true, ""},
	"noexec":        {unix.MOUNT_ATTR_NOEXEC, false, "MOUNT_ATTR_NOEXEC"},
	"exec":          {unix.MOUNT_ATTR_NOEXEC, true, ""},
	"nodiratime":    {unix.MOUNT_ATTR_NODIRATIME, false, "MOUNT_ATTR_NODIRATIME"},
	"diratime":      {unix.MOUNT_ATTR_NODIRATIME, true, ""},
	"nosymfollow":   {unix.MOUNT_ATTR_NOSYMFOLLOW, false, "MOUNT_ATTR_NOSYMFOLLOW"},
	"symfollow":     {unix.MOUNT_ATTR_NOSYMFOLLOW, true, ""},
	"noatime":       {unix.MOUNT_ATTR_NOATIME, false, "MOUNT_ATTR_NOATIME"},
	"atime":         {unix.MOUNT_ATTR_RELATIME, false, ""},
	"relatime":      {unix.MOUNT_ATTR_RELATIME, false, ""},
	"norelatime":    {unix.MOUNT_ATTR_RELATIME, false, ""}, // the kernel's own default, as mount(8) has it
	"strictatime":   {unix.MOUNT_ATTR_STRICTATIME, false, "MOUNT_ATTR_STRICTATIME"},
	"nostrictatime": {unix.MOUNT_ATTR_RELATIME, false, ""},
}

var propagations = map[string]uint64{
	"private": unix.MS_PRIVATE, "shared": unix.MS_SHARED, "slave": unix.MS_SLAVE, "unbindable": unix.MS_UNBINDABLE,
}

// parseMountOptions sorts the options of an OCI mount (runtime-spec,
// config.md#linux-mount-options). What is no option of a mount is left to the
// file system, which refuses what it does not know.
func parseMountOptions(options []string) mountOptions {
	var o mountOptions
	for _, opt := range options {
		switch opt {
		case "bind":
			o.bind = true
			continue
		case "rbind":
			o.bind, o.recursive = true, true
			continue
		case "tmpcopyup":
			o.copyUp = true
			continue
		case "remount":
			o.remount = true
			continue
		case "idmap":
			o.idmap = true
			continue
		case "ridmap":
			o.idmap, o.ridmap = true, true
			continue
		case "defaults", "", "silent", "loud", "iversion", "noiversion":
			// The latter four were flags of mount(2), which no file system heeds any more.
			continue
		}
		if a, ok := attributes[opt]; ok {
			set(&o.attr, a)
			if a.text != "" {
				o.text = append(o.text, a.text)
			}
			continue
		}
		if flag, ok := propagations[opt]; ok {
			o.propagation = append(o.propagation, propagation{flag, false})
			continue
		}
		if r, ok := strings.CutPrefix(opt, "r"); ok {
			if flag, ok := propagations[r]; ok {
				o.propagation = append(o.propagation, propagation{flag, true})
				continue
			}
			if a, ok := attributes[r]; ok {
				set(&o.attrRecursive, a)
				continue
			}
		}
		o.data = append(o.data, opt)
	}
	return o
}

// set adds one attribute. The four access time modes are values of one field,
// which must be cleared as a whole to set one of them.
func set(m *unix.MountAttr, a attribute) {
	switch {
	case a.flag == unix.MOUNT_ATTR_RELATIME || a.flag == unix.MOUNT_ATTR_NOATIME || a.flag == unix.MOUNT_ATTR_STRICTATIME:
		m.Attr_clr |= unix.MOUNT_ATTR__ATIME
		m.Attr_set = m.Attr_set&^unix.MOUNT_ATTR__ATIME | a.flag
	case a.clear:
		m.Attr_clr |= a.flag
		m.Attr_set &^= a.flag
	default:
		m.Attr_set |= a.flag
		m.Attr_clr &^= a.flag
	}
}

// MountOptions are the options of an OCI mount that are not the file system's.
func MountOptions() []string {
	list := []string{
		"bind", "rbind", "defaults", "tmpcopyup", "remount", "idmap", "ridmap", "silent", "loud", "iversion", "noiversion",
		"async", "sync", "dirsync", "lazytime", "nolazytime", "mand", "nomand", // fsconfig(2) knows these of every file system
	}
	for name := range attributes {
		list = append(list, name, "r"+name)
	}
	for name := range propagations {
		list = append(list, name, "r"+name)
	}
	slices.Sort(list)
	return list
}
