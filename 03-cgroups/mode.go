//go:build linux

package cgroups

import "drydock.example/03-cgroups/cgroupfs"

// Mode is how a host has mounted its cgroup hierarchies.
type Mode int

const (
	V1     Mode = iota + 1 // a hierarchy for each controller
	Hybrid                 // v1 for the controllers, and v2, without them, beside it
	V2                     // one hierarchy with all controllers
)

func (m Mode) String() string {
	switch m {
	case V1:
		return "v1"
	case Hybrid:
		return "hybrid"
	case V2:
		return "v2"
	}
	return "none"
}

// Detect tells the mode from the mount table. A host without any hierarchy
// gives an error of kind FailedPrecondition.
func Detect() (Mode, error) {
	_, mode, err := detect()
	return mode, err
}

func detect() (cgroupfs.Mounts, Mode, error) {
	mounts, err := cgroupfs.ReadMounts()
	switch {
	case err != nil:
		return mounts, 0, err
	case mounts.Unified():
		return mounts, V2, nil
	case mounts.V2 != nil:
		return mounts, Hybrid, nil
	}
	return mounts, V1, nil
}
