//go:build linux

package engine

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/opencontainers/runtime-spec/specs-go"

	namespaces "drydock.example/02-namespaces"
	"drydock.example/07-runtime/shim"
)

var (
	maskedPaths   = namespaces.DefaultMaskedPaths()
	readonlyPaths = namespaces.DefaultReadonlyPaths()
)

// spec describes the container to the OCI runtime. layers are its root's, the topmost first; the
// writable one is among them.
func (c *Container) spec(r *record, layers []string) (*specs.Spec, error) {
	h := r.HostConfig
	who, home, err := lookUpUser(layers, r.Config.User)
	if err != nil {
		return nil, err
	}
	s := namespaces.NewSpec(c.bundle(shim.RootfsDir), append([]string{r.Path}, r.Args...)...)
	s.Root.Readonly = h.ReadonlyRootfs
	s.Hostname = r.Config.Hostname
	s.Process.User = who
	security, err := parseSecurity(h)
	if err != nil {
		return nil, err
	}
	s.Process.NoNewPrivileges = security.noNewPrivileges // Docker's default is false: sudo and the like work inside
	s.Process.Terminal = r.Config.Tty
	if size := h.ConsoleSize; r.Config.Tty && size != [2]uint{} {
		s.Process.ConsoleSize = &specs.Box{Height: size[0], Width: size[1]}
	}
	if r.Config.WorkingDir != "" {
		s.Process.Cwd = path.Clean(r.Config.WorkingDir)
	}
	s.Process.Env = environment(r.Config, home)
	grant(s.Process.Capabilities, who)

	if err := c.mounts(s, r); err != nil {
		return nil, err
	}
	s.Linux.CgroupsPath = path.Join(c.engine.opt.CgroupParent, c.id)
	s.Linux.Resources = resources(h)
	s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = h.MaskedPaths, h.ReadonlyPaths
	if h.Init != nil && *h.Init {
		s.Annotations = map[string]string{namespaces.InitAnnotation: "true"}
	}
	if h.NetworkMode.IsHost() {
		s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, func(ns specs.LinuxNamespace) bool {
			return ns.Type == specs.NetworkNamespace
		})
	}
	// Last, because the profile allows what the capabilities are good for.
	if s.Linux.Seccomp, err = security.profile(h, s); err != nil {
		return nil, invalid("--security-opt seccomp: %w", err)
	}
	return s, nil
}

// grant gives a process what execve(2) would: root all of the bounding set, others nothing. The
// bounding set stays, for sudo.
func grant(c *specs.LinuxCapabilities, who specs.User) {
	c.Effective, c.Permitted = nil, nil
	if who.UID == 0 {
		c.Effective, c.Permitted = c.Bounding, c.Bounding
	}
}

// environment is the program's: what every container has, unless the container's config or its
// image says otherwise.
func environment(c *container.Config, home string) []string {
	env := []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOSTNAME=" + c.Hostname,
	}
	if c.Tty {
		env = append(env, "TERM=xterm")
	}
	env = append(env, "HOME="+home)
	for _, e := range c.Env {
		key, _, withValue := strings.Cut(e, "=")
		env = slices.DeleteFunc(env, func(have string) bool { return strings.HasPrefix(have, key+"=") })
		if withValue { // "KEY" alone takes the variable away
			env = append(env, e)
		}
	}
	return env
}

// mounts adds the cgroups, the network's files and the binds to the spec's mounts, parents before
// what lies in them.
func (c *Container) mounts(s *specs.Spec, r *record) error {
	for i := range s.Mounts {
		if s.Mounts[i].Destination == "/dev/shm" {
			s.Mounts[i].Options = []string{"nosuid", "noexec", "nodev", "mode=1777", fmt.Sprintf("size=%d", r.HostConfig.ShmSize)}
		}
	}
	s.Mounts = append(s.Mounts, specs.Mount{
		Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup",
		Options: []string{"ro", "nosuid", "noexec", "nodev"},
	})

	bs, err := binds(r.HostConfig)
	if err != nil {
		return err
	}
	own := map[string]bool{}
	var added []specs.Mount
	for _, b := range bs {
		// A source that is missing becomes a directory, as Docker has it.
		if err := os.MkdirAll(b.source, 0o755); err != nil {
			if _, statErr := os.Stat(b.source); statErr != nil {
				return invalid("error while creating mount source path '%s': %w", b.source, err)
			}
		}
		options := []string{"rbind", "rprivate"}
		if b.readonly {
			options = append(options, "ro")
		}
		own[b.target] = true
		added = append(added, specs.Mount{Destination: b.target, Type: "bind", Source: b.source, Options: options})
	}
	for _, name := range []string{"hosts", "hostname", "resolv.conf"} {
		target := "/etc/" + name
		if !own[target] {
			added = append(added, specs.Mount{Destination: target, Type: "bind", Source: c.dir(name), Options: []string{"rbind", "rprivate"}})
		}
	}
	slices.SortStableFunc(added, func(a, b specs.Mount) int {
		return strings.Count(a.Destination, "/") - strings.Count(b.Destination, "/")
	})
	// A bind at the place of a default mount, /dev/shm for one, stands in for it.
	s.Mounts = slices.DeleteFunc(s.Mounts, func(m specs.Mount) bool { return own[m.Destination] })
	s.Mounts = append(s.Mounts, added...)
	return nil
}

// resources are the cgroup's limits.
func resources(h *container.HostConfig) *specs.LinuxResources {
	r := &specs.LinuxResources{Devices: deviceRules()}
	if h.Memory > 0 {
		r.Memory = &specs.LinuxMemory{Limit: &h.Memory}
		if h.MemorySwap > 0 {
			r.Memory.Swap = &h.MemorySwap
		}
	}
	cpu := specs.LinuxCPU{}
	if h.CPUShares > 0 {
		shares := uint64(h.CPUShares)
		cpu.Shares = &shares
	}
	if h.CPUPeriod > 0 {
		period := uint64(h.CPUPeriod)
		cpu.Period = &period
	}
	if h.CPUQuota != 0 {
		cpu.Quota = &h.CPUQuota
	}
	if h.NanoCPUs > 0 {
		period := uint64(100_000) // µs, the kernel's default
		quota := h.NanoCPUs * int64(period) / 1e9
		cpu.Period, cpu.Quota = &period, &quota
	}
	if cpu != (specs.LinuxCPU{}) {
		r.CPU = &cpu
	}
	if h.PidsLimit != nil && *h.PidsLimit > 0 {
		r.Pids = &specs.LinuxPids{Limit: h.PidsLimit}
	}
	return r
}

// deviceRules let a container make any device node and use only the harmless ones: it has
// CAP_MKNOD, and the host's disk is a node away.
func deviceRules() []specs.LinuxDeviceCgroup {
	rule := func(kind string, major, minor int64, access string) specs.LinuxDeviceCgroup {
		d := specs.LinuxDeviceCgroup{Allow: true, Type: kind, Access: access}
		if major >= 0 {
			d.Major = &major
		}
		if minor >= 0 {
			d.Minor = &minor
		}
		return d
	}
	return []specs.LinuxDeviceCgroup{
		{Allow: false, Access: "rwm"},
		rule("c", -1, -1, "m"), rule("b", -1, -1, "m"),
		rule("c", 1, 3, "rwm"), rule("c", 1, 5, "rwm"), rule("c", 1, 7, "rwm"), // null, zero, full
		rule("c", 1, 8, "rwm"), rule("c", 1, 9, "rwm"), // random, urandom
		rule("c", 5, 0, "rwm"), rule("c", 5, 1, "rwm"), rule("c", 5, 2, "rwm"), // tty, console, ptmx
		rule("c", 136, -1, "rwm"), // the terminals of devpts
	}
}

// mountPoints are the container's binds as the API shows them.
func mountPoints(r *record) []container.MountPoint {
	points := []container.MountPoint{}
	bs, err := binds(r.HostConfig)
	if err != nil {
		return points // refused at creation: not in a record
	}
	for _, b := range bs {
		points = append(points, container.MountPoint{
			Type: mount.TypeBind, Source: b.source, Destination: b.target,
			Mode: b.mode, RW: !b.readonly, Propagation: mount.PropagationRPrivate,
		})
	}
	return points
}
