//go:build linux

package overlayfs

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// Owners says which user and group on the disk each user and group of a layer
// is, for containers whose user namespace has other numbers than the host. An
// archive holds the container's numbers (ContainerID), the layer's directory
// the host's (HostID). With no mapping at all the two are the same, which is
// also right for a process that is itself in the container's user namespace:
// there the kernel translates.
//
// The numbers in access lists and in file capabilities follow. An owner that
// the mappings do not have is [errdefs.ErrInvalidArgument].
//
// Source: runtime-spec, config-linux.md, "User namespace mappings".
type Owners struct {
	UIDs, GIDs []specs.LinuxIDMapping
}

// onDisk returns the host's number of the container's id.
func onDisk(m []specs.LinuxIDMapping, id int) (int, error) {
	for _, e := range m {
		if first := int(e.ContainerID); id >= first && id-first < int(e.Size) {
			return int(e.HostID) + id - first, nil
		}
	}
	if len(m) == 0 && id >= 0 && id < math.MaxUint32 {
		return id, nil
	}
	return 0, fmt.Errorf("the id %d of the container is none on the host (mappings %v): %w", id, m, errdefs.ErrInvalidArgument)
}

// inArchive is the inverse of onDisk.
func inArchive(m []specs.LinuxIDMapping, id int) (int, error) {
	for _, e := range m {
		if first := int(e.HostID); id >= first && id-first < int(e.Size) {
			return int(e.ContainerID) + id - first, nil
		}
	}
	if len(m) == 0 {
		return id, nil
	}
	return 0, fmt.Errorf("the id %d of the host is none in the container (mappings %v): %w", id, m, errdefs.ErrInvalidArgument)
}

// translation is onDisk or inArchive.
type translation func(m []specs.LinuxIDMapping, id int) (int, error)

// translate returns an attribute's value with the numbers of users and groups
// in it translated.
func (o Owners) translate(name, value string, to translation) (string, error) {
	if len(o.UIDs) == 0 && len(o.GIDs) == 0 {
		return value, nil
	}
	switch name {
	case "security.capability":
		return o.capability(value, to)
	case "system.posix_acl_access", "system.posix_acl_default":
		return o.accessList(value, to)
	}
	return value, nil
}

// The forms of security.capability. The second counts in the host's user
// namespace; the third names, in its last word, the host's number of that root
// for whose user namespace the capabilities are.
//
// Source: capabilities(7), "File capability extended attribute versioning".
const (
	capRevision  = 0xff000000
	capRevision2 = 0x02000000
	capRevision3 = 0x03000000
	capSize2     = 20
	capSize3     = 24
)

func (o Owners) capability(value string, to translation) (string, error) {
	b := []byte(value)
	if len(b) < capSize2 {
		return value, nil // the kernel will say what it thinks of it
	}
	magic := binary.LittleEndian.Uint32(b)
	root := 0
	switch {
	case magic&capRevision == capRevision2 && len(b) == capSize2:
	case magic&capRevision == capRevision3 && len(b) == capSize3:
		root = int(binary.LittleEndian.Uint32(b[capSize2:]))
	default:
		return value, nil
	}
	root, err := to(o.UIDs, root)
	if err != nil {
		return "", fmt.Errorf("security.capability: %w", err)
	}
	b, revision := b[:capSize2:capSize2], uint32(capRevision2)
	if root != 0 {
		b, revision = binary.LittleEndian.AppendUint32(b, uint32(root)), capRevision3
	}
	binary.LittleEndian.PutUint32(b, magic&^capRevision|revision)
	return string(b), nil
}

// An access list is a version and then entries of a tag, the permissions and an
// id; the id counts where the tag says a user or a group by number.
//
// Source: acl(5); linux/posix_acl_xattr.h.
const (
	aclHeader = 4
	aclEntry  = 8
	aclUser   = 0x02
	aclGroup  = 0x08
)

func (o Owners) accessList(value string, to translation) (string, error) {
	b := []byte(value)
	for at := aclHeader; at+aclEntry <= len(b); at += aclEntry {
		m := o.UIDs
		switch binary.LittleEndian.Uint16(b[at:]) {
		case aclUser:
		case aclGroup:
			m = o.GIDs
		default:
			continue
		}
		id, err := to(m, int(binary.LittleEndian.Uint32(b[at+4:])))
		if err != nil {
			return "", fmt.Errorf("access list: %w", err)
		}
		binary.LittleEndian.PutUint32(b[at+4:], uint32(id))
	}
	return string(b), nil
}
