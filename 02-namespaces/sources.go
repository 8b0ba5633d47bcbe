//go:build linux

package namespaces

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// openSources makes the bind mounts of a spec that the process cannot make
// itself, detached, by their places in spec.Mounts. Root of a new user
// namespace is nobody outside and does not reach every source; and to give the
// files of a mount other owners takes the right to mount their file system.
func openSources(ctx context.Context, spec *specs.Spec, p plan) (_ map[int]*os.File, err error) {
	trees := map[int]*os.File{}
	defer func() {
		if err != nil {
			for _, tree := range trees {
				tree.Close()
			}
		}
	}()
	outside := os.Geteuid() == 0 && p.entersUser() && isNew(spec.Linux.Namespaces, specs.MountNamespace)
	for i, m := range spec.Mounts {
		o := parseMountOptions(m.Options)
		mapped := o.idmap || len(m.UIDMappings)+len(m.GIDMappings) > 0
		switch {
		case mapped && !o.bind && m.Type != "bind":
			err = errors.New("ids can be mapped in a bind mount only: add the option bind")
		case mapped, outside && !o.remount && (o.bind || m.Type == "bind"):
			var tree *os.File
			tree, err = openSource(ctx, m, o, mapped, p)
			if errors.Is(err, unix.EPERM) && !mapped {
				err = nil // this user mounts in a user namespace only: the process does it there
				continue
			}
			trees[i] = tree
		}
		if err != nil {
			return nil, fmt.Errorf("mount %s (%s) on %s: %w", cmp.Or(m.Source, "none"), cmp.Or(m.Type, "bind"), m.Destination, err)
		}
	}
	return trees, nil
}

func openSource(ctx context.Context, m specs.Mount, o mountOptions, mapped bool, p plan) (*os.File, error) {
	tree, err := cloneTree(ctx, m.Source, o.recursive)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(tree), m.Source)
	// As the step "propagation" does for the mounts that the process copies.
	err = os.NewSyscallError("mount_setattr", unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &unix.MountAttr{Propagation: unix.MS_SLAVE}))
	if err == nil {
		err = setAttributes(ctx, tree, o, m.Destination)
	}
	if err == nil && mapped {
		err = mapOwners(ctx, tree, m, o, p)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// mapOwners has a detached mount show other owners than the disk has: by the
// mappings of the mount or, without any, by those of the container.
func mapOwners(ctx context.Context, tree int, m specs.Mount, o mountOptions, p plan) error {
	users, err := mapping(ctx, m, p)
	if err != nil {
		return err
	}
	defer users.Close()
	flags, text := uint(unix.AT_EMPTY_PATH), "AT_EMPTY_PATH"
	if o.ridmap {
		flags, text = flags|unix.AT_RECURSIVE, text+"|AT_RECURSIVE"
	}
	chapter.Call(ctx, "the owners of its files, as a user namespace maps them", "mount_setattr(%d, \"\", %s, {attr_set=MOUNT_ATTR_IDMAP, userns_fd=%d}, %d)", tree, text, users.Fd(), unix.MOUNT_ATTR_SIZE_VER0)
	err = unix.MountSetattr(tree, "", flags, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(users.Fd())})
	if err != nil {
		err = os.NewSyscallError("mount_setattr(MOUNT_ATTR_IDMAP)", err)
		if errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("%w: the file system of %s may not be able to map owners", err, m.Source)
		}
	}
	return err
}

// mapping returns a user namespace that has the mappings of a mount.
func mapping(ctx context.Context, m specs.Mount, p plan) (*os.File, error) {
	uids, gids := m.UIDMappings, m.GIDMappings
	if len(uids)+len(gids) == 0 {
		uids, gids = p.uids, p.gids
		for _, j := range p.join {
			if j.name == specs.UserNamespace {
				return os.Open(j.path)
			}
		}
	}
	if len(uids) == 0 || len(gids) == 0 {
		return nil, errors.New("idmap: want uidMappings and gidMappings of the mount, or a user namespace of the container")
	}
	return newUserNamespace(ctx, uids, gids)
}

// newUserNamespace returns a user namespace with mappings and nobody in it. A
// process is needed to make one, which ends before it executes anything.
func newUserNamespace(ctx context.Context, uids, gids []specs.LinuxIDMapping) (users *os.File, err error) {
	self, err := openSelf(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer self.Close()
	done := errors.New("it has served")
	f := &fork{flags: unix.CLONE_NEWUSER, program: self, argv: []string{initName}, mapIDs: func(pid int) (err error) {
		if err := mapIDs(ctx, pid, uids, gids); err != nil {
			return err
		}
		if users, err = os.Open(fmt.Sprintf("/proc/%d/ns/user", pid)); err != nil {
			return err
		}
		return done
	}}
	chapter.Call(ctx, "a user namespace that nobody will live in, for its mappings", "clone3({flags=CLONE_NEWUSER, exit_signal=SIGCHLD})")
	if _, err := f.start(); !errors.Is(err, done) {
		return nil, err
	}
	return users, nil
}
