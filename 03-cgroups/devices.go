//go:build linux

package cgroups

import (
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// withDefaultDevices adds, behind the rules of r, those for the devices that
// every container has whatever its rules say (runtime-spec, config-linux.md,
// "Default Devices"), and the right to make a device file: a file that may not
// be opened harms nobody. Without any rule in r the cgroup stays as its parent.
func withDefaultDevices(r *specs.LinuxResources) *specs.LinuxResources {
	if len(r.Devices) == 0 {
		return r
	}
	rule := func(kind string, major, minor int64, access string) specs.LinuxDeviceCgroup {
		return specs.LinuxDeviceCgroup{Allow: true, Type: kind, Major: &major, Minor: &minor, Access: access}
	}
	with := *r
	with.Devices = append(slices.Clone(r.Devices),
		rule("c", -1, -1, "m"),
		rule("b", -1, -1, "m"),
		rule("c", 1, 3, "rwm"),    // /dev/null
		rule("c", 1, 5, "rwm"),    // /dev/zero
		rule("c", 1, 7, "rwm"),    // /dev/full
		rule("c", 1, 8, "rwm"),    // /dev/random
		rule("c", 1, 9, "rwm"),    // /dev/urandom
		rule("c", 5, 0, "rwm"),    // /dev/tty
		rule("c", 5, 2, "rwm"),    // /dev/ptmx
		rule("c", 136, -1, "rwm"), // /dev/pts/*
	)
	return &with
}
