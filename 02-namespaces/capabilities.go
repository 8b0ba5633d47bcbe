//go:build linux

package namespaces

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/moby/sys/capability"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// capabilitySet is one set of capabilities(7): bit n is capability n.
type capabilitySet uint64

// capabilityNumbers returns the map of CAP_CHOWN and the like to their numbers.
var capabilityNumbers = sync.OnceValue(func() map[string]uint {
	m := map[string]uint{}
	for _, c := range capability.ListKnown() {
		m["CAP_"+strings.ToUpper(c.String())] = uint(c)
	}
	return m
})

// Capabilities are the names of those that a spec may grant.
func Capabilities() []string { return slices.Sorted(maps.Keys(capabilityNumbers())) }

// capabilitySet returns the set of the names. What the kernel has no number for
// is a warning and no error (runtime-spec, config.md#linux-process): a config may
// have been written for a newer one.
func (p *initProcess) capabilitySet(names []string) capabilitySet {
	numbers := capabilityNumbers()
	var s capabilitySet
	for _, name := range names {
		n, ok := numbers[name]
		if !ok {
			p.warn(fmt.Sprintf("process.capabilities: %q is no capability known here, where they are written like CAP_NET_ADMIN: it does without", name))
			continue
		}
		s |= 1 << n
	}
	return s
}

// warn adds a warning, which is said once.
func (p *initProcess) warn(text string) {
	if !slices.Contains(p.warnings, text) {
		p.warnings = append(p.warnings, text)
	}
}

// dropBounding limits what any program in the container can ever gain. It
// comes before the change of user, because it takes CAP_SETPCAP.
func dropBounding(p *initProcess) error {
	c := p.Process.Capabilities
	if c == nil {
		c = &specs.LinuxCapabilities{}
	}
	keep := p.capabilitySet(c.Bounding)
	chapter.Call(p.ctx, "once for each capability that no program in here may ever gain, not even one that is set-user-ID", "prctl(PR_CAPBSET_DROP)")
	for n := uintptr(0); n < 64; n++ {
		if keep&(1<<n) != 0 {
			continue
		}
		switch err := unix.Prctl(unix.PR_CAPBSET_DROP, n, 0, 0, 0); err {
		case nil:
		case unix.EINVAL:
			return nil // above the last one that this kernel knows
		case unix.EPERM:
			return fmt.Errorf("drop capability %d from the bounding set: %w", n, err)
		}
	}
	return nil
}

// limitCapabilities sets the other four sets. What the kernel does not let the
// process have, because its creator lacks it, it does without: a container
// gets what there is.
func limitCapabilities(p *initProcess) error {
	c := p.Process.Capabilities
	if c == nil {
		c = &specs.LinuxCapabilities{}
	}
	var sets [4]capabilitySet
	for i, names := range [][]string{c.Effective, c.Permitted, c.Inheritable, c.Ambient} {
		sets[i] = p.capabilitySet(names)
	}
	effective, permitted, inheritable, ambient := sets[0], sets[1], sets[2], sets[3]

	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return os.NewSyscallError("capget", err)
	}
	have := capabilitySet(data[0].Permitted) | capabilitySet(data[1].Permitted)<<32
	permitted &= have
	effective &= permitted
	inheritable &= have
	for i := range data {
		shift := 32 * i
		data[i] = unix.CapUserData{Effective: uint32(effective >> shift), Permitted: uint32(permitted >> shift), Inheritable: uint32(inheritable >> shift)}
	}
	chapter.Call(p.ctx, "root's power comes in pieces: these are the ones it keeps", "capset({version=_LINUX_CAPABILITY_VERSION_3, pid=0}, {effective=%#x, permitted=%#x, inheritable=%#x})", uint64(effective), uint64(permitted), uint64(inheritable))
	if err := unix.Capset(&header, &data[0]); err != nil {
		return os.NewSyscallError("capset", err)
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl(PR_CAP_AMBIENT)", err)
	}
	for n := uintptr(0); n < 64; n++ {
		if ambient&permitted&inheritable&(1<<n) == 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, n, 0, 0); err != nil {
			return fmt.Errorf("raise ambient capability %d: %w", n, os.NewSyscallError("prctl(PR_CAP_AMBIENT)", err))
		}
	}
	return nil
}
