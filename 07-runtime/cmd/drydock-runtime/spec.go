//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	namespaces "drydock.example/02-namespaces"
	cgroups "drydock.example/03-cgroups"
	"drydock.example/07-runtime/oci"
)

func spec(_ context.Context, _ *global, args []string) error {
	opt := options("spec")
	var bundle string
	opt.StringVar(&bundle, "bundle", ".", "the bundle's directory")
	opt.StringVar(&bundle, "b", ".", "the bundle's directory")
	rootless := opt.Bool("rootless", false, "for this user: with a user namespace of his own")
	if _, err := parse(opt, args, "", 0, 0); err != nil {
		return err
	}
	s := namespaces.NewSpec("rootfs", "sh")
	s.Process.Terminal = true
	s.Process.Env = slices.DeleteFunc(s.Process.Env, func(e string) bool { return strings.HasPrefix(e, "HOME=") }) // each user's is his own
	s.Root.Readonly = true
	s.Hostname = "drydock"
	if *rootless {
		if err := ownUser(s); err != nil {
			return err
		}
	}
	if !*rootless {
		// No devices but the usual, which every container gets; and a place for limits.
		s.Linux.Resources = &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Access: "rwm"}}}
	}
	addCgroups(s, *rootless)
	b, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(bundle, oci.ConfigFile), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if errors.Is(err, fs.ErrExist) {
		return errors.New("File config.json exists. Remove it first") //nolint:staticcheck // runc's words
	}
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	return errors.Join(err, f.Close())
}

// addCgroups shows a container its cgroup, read-only. On v1 it gets no cgroup
// namespace: most programs that look there take /proc/self/cgroup for a path.
func addCgroups(s *specs.Spec, rootless bool) {
	if mode, err := cgroups.Detect(); err != nil || mode != cgroups.V2 {
		s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, func(ns specs.LinuxNamespace) bool { return ns.Type == specs.CgroupNamespace })
	}
	if !rootless { // whose /sys is the host's, cgroups included
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "relatime", "ro"}})
	}
}

// ownUser makes a config one that an ordinary user can run: with the host's
// network, as nobody else could connect a new one, and so with the host's /sys,
// which belongs to the network namespace.
func ownUser(s *specs.Spec) error {
	if err := namespaces.OwnUserNamespace(s); err != nil {
		return err
	}
	s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, func(ns specs.LinuxNamespace) bool { return ns.Type == specs.NetworkNamespace })
	for i, m := range s.Mounts {
		if m.Type == "sysfs" {
			s.Mounts[i] = specs.Mount{Destination: m.Destination, Type: "none", Source: "/sys", Options: []string{"rbind", "nosuid", "noexec", "nodev", "ro"}}
		}
	}
	return nil
}
