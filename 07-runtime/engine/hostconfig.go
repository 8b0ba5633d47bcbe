//go:build linux

package engine

import (
	"fmt"
	"path"
	"runtime"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"golang.org/x/sys/unix"
)

// refuse returns an error for the first setting of the request that asks for something this
// engine does not do: what a container's owner asked for is done or refused, never left out.
// What the clients send without being asked (zero values and Docker's defaults) passes.
func refuse(req container.CreateRequest) error {
	h, c := req.HostConfig, req.Config
	settings := []struct {
		asked bool
		name  string
	}{
		{len(h.Annotations) > 0, "Annotations"},
		{len(h.BlkioDeviceReadBps) > 0, "BlkioDeviceReadBps"},
		{len(h.BlkioDeviceReadIOps) > 0, "BlkioDeviceReadIOps"},
		{len(h.BlkioDeviceWriteBps) > 0, "BlkioDeviceWriteBps"},
		{len(h.BlkioDeviceWriteIOps) > 0, "BlkioDeviceWriteIOps"},
		{h.BlkioWeight != 0, "BlkioWeight"},
		{len(h.BlkioWeightDevice) > 0, "BlkioWeightDevice"},
		{len(h.CapAdd) > 0, "CapAdd"},
		{len(h.CapDrop) > 0, "CapDrop"},
		{h.Cgroup != "", "Cgroup"},
		{h.CgroupParent != "", "CgroupParent"},
		{!h.CgroupnsMode.IsEmpty() && !h.CgroupnsMode.IsPrivate(), "CgroupnsMode"},
		{h.CPUCount != 0, "CpuCount"},
		{h.CPUPercent != 0, "CpuPercent"},
		{h.CPURealtimePeriod != 0, "CpuRealtimePeriod"},
		{h.CPURealtimeRuntime != 0, "CpuRealtimeRuntime"},
		{h.CpusetCpus != "", "CpusetCpus"},
		{h.CpusetMems != "", "CpusetMems"},
		{len(h.DNS) > 0, "Dns"},
		{len(h.DNSOptions) > 0, "DnsOptions"},
		{len(h.DNSSearch) > 0, "DnsSearch"},
		{len(h.DeviceCgroupRules) > 0, "DeviceCgroupRules"},
		{len(h.DeviceRequests) > 0, "DeviceRequests"},
		{len(h.Devices) > 0, "Devices"},
		{len(h.GroupAdd) > 0, "GroupAdd"},
		{h.IOMaximumBandwidth != 0, "IOMaximumBandwidth"},
		{h.IOMaximumIOps != 0, "IOMaximumIOps"},
		{h.IpcMode != "" && !h.IpcMode.IsPrivate(), "IpcMode"},
		{!h.Isolation.IsDefault(), "Isolation"},
		{len(h.Links) > 0, "Links"},
		{h.LogConfig.Type != "" && h.LogConfig.Type != "json-file" || len(h.LogConfig.Config) > 0, "LogConfig"},
		{h.MaskedPaths != nil, "MaskedPaths"},
		{h.MemoryReservation != 0, "MemoryReservation"},
		{h.MemorySwappiness != nil && *h.MemorySwappiness != -1, "MemorySwappiness"},
		{len(h.Mounts) > 0, "Mounts"},
		{h.OomKillDisable != nil && *h.OomKillDisable, "OomKillDisable"},
		{h.OomScoreAdj != 0, "OomScoreAdj"},
		{h.PidMode != "", "PidMode"},
		{h.Privileged, "Privileged"},
		{h.ReadonlyPaths != nil, "ReadonlyPaths"},
		{!h.RestartPolicy.IsNone() || h.RestartPolicy.MaximumRetryCount != 0, "RestartPolicy"},
		{h.Runtime != "", "Runtime"},
		{len(h.StorageOpt) > 0, "StorageOpt"},
		{len(h.Sysctls) > 0, "Sysctls"},
		{len(h.Tmpfs) > 0, "Tmpfs"},
		{h.UTSMode != "", "UTSMode"},
		{len(h.Ulimits) > 0, "Ulimits"},
		{h.Umask != nil, "Umask"},
		{h.UsernsMode != "", "UsernsMode"},
		{h.VolumeDriver != "", "VolumeDriver"},
		{len(h.VolumesFrom) > 0, "VolumesFrom"},
	}
	for _, s := range settings {
		if s.asked {
			return invalid("HostConfig.%s is not supported by this engine", s.name)
		}
	}

	switch {
	case c.Domainname != "":
		return invalid("Config.Domainname is not supported by this engine")
	case len(c.Volumes) > 0:
		return invalid("Config.Volumes is not supported by this engine: mount a directory of the host with -v /host/path:/path")
	case c.Healthcheck != nil && !healthcheckOff(c.Healthcheck):
		return invalid("Config.Healthcheck is not supported by this engine")
	case c.NetworkDisabled:
		return invalid("Config.NetworkDisabled is not supported by this engine: use the network none")
	case len(c.OnBuild) > 0:
		return invalid("Config.OnBuild is not supported by this engine")
	}

	if req.NetworkingConfig != nil {
		for name, es := range req.NetworkingConfig.EndpointsConfig {
			if name != network.NetworkDefault && name != string(h.NetworkMode) {
				return invalid("a container with more than one network (%s) is not supported by this engine", name)
			}
			if es != nil && (es.IPAMConfig != nil && (es.IPAMConfig.IPv4Address.IsValid() || es.IPAMConfig.IPv6Address.IsValid() || len(es.IPAMConfig.LinkLocalIPs) > 0) ||
				len(es.Links) > 0 || len(es.Aliases) > 0 || len(es.DriverOpts) > 0 || es.GwPriority != 0 || len(es.MacAddress) > 0) {
				return invalid("NetworkingConfig: an address, aliases, links or options for network %s are not supported by this engine", name)
			}
		}
	}
	return nil
}

func healthcheckOff(h *container.HealthConfig) bool {
	return len(h.Test) == 0 && h.Interval == 0 && h.Timeout == 0 && h.StartPeriod == 0 && h.StartInterval == 0 && h.Retries == 0 ||
		len(h.Test) == 1 && h.Test[0] == "NONE"
}

// checkLimits refuses limits that make no sense, in Docker's words where Docker has some.
func checkLimits(h *container.HostConfig) error {
	const minimumMemory = 6 << 20
	switch {
	case h.Memory < 0:
		return invalid("invalid memory limit (%d): value must not be negative", h.Memory)
	case h.Memory > 0 && h.Memory < minimumMemory:
		return invalid("Minimum memory limit allowed is 6MB")
	case h.Memory == 0 && h.MemorySwap > 0:
		return invalid("You should always set the Memory limit when using Memoryswap limit, see usage")
	case h.MemorySwap > 0 && h.MemorySwap < h.Memory:
		return invalid("Minimum memoryswap limit should be larger than memory limit, see usage")
	case h.MemorySwap < -1:
		return invalid("invalid memory and swap limit (%d): use -1 for no limit", h.MemorySwap)
	case h.NanoCPUs != 0 && (h.CPUPeriod != 0 || h.CPUQuota != 0):
		return invalid("Conflicting options: Nano CPUs cannot be set together with CPU period or CPU quota")
	case h.NanoCPUs < 0 || h.NanoCPUs > 0 && h.NanoCPUs < 1e7 || h.NanoCPUs > int64(runtime.NumCPU())*1e9:
		return invalid("range of CPUs is from 0.01 to %d.00, as there are only %d CPUs available", runtime.NumCPU(), runtime.NumCPU())
	case h.CPUShares < 0:
		return invalid("invalid CPU shares (%d): value must be a positive integer", h.CPUShares)
	case h.CPUPeriod != 0 && (h.CPUPeriod < 1000 || h.CPUPeriod > 1000000):
		return invalid("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
	case h.CPUQuota > 0 && h.CPUQuota < 1000:
		return invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)")
	case h.CPUQuota < -1:
		return invalid("invalid CPU cfs quota (%d): use -1 for no limit", h.CPUQuota)
	case h.PidsLimit != nil && *h.PidsLimit < -1:
		return invalid("invalid pids limit (%d): use -1 for no limit", *h.PidsLimit)
	case h.ShmSize < 0:
		return invalid("SHM size can not be less than 0")
	}
	return nil
}

// defaults fills in what a HostConfig leaves to the engine, as docker inspect shows it. It returns
// what was asked for and this host cannot do.
func defaults(h *container.HostConfig) (warnings []string) {
	if h.NetworkMode == "" || h.NetworkMode.IsDefault() {
		h.NetworkMode = network.NetworkBridge
	}
	if h.LogConfig.Type == "" {
		h.LogConfig = container.LogConfig{Type: "json-file", Config: map[string]string{}}
	}
	if h.RestartPolicy.Name == "" {
		h.RestartPolicy.Name = container.RestartPolicyDisabled
	}
	if h.ShmSize == 0 {
		h.ShmSize = 64 << 20
	}
	if h.Memory > 0 && !swapLimits() {
		h.MemorySwap = -1
		warnings = append(warnings, "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.")
	} else if h.Memory > 0 && h.MemorySwap == 0 {
		h.MemorySwap = 2 * h.Memory
	}
	if h.NetworkMode.IsHost() && (len(h.PortBindings) > 0 || h.PublishAllPorts) {
		warnings = append(warnings, "Published ports are discarded when using host network mode")
	}
	if h.PidsLimit != nil && *h.PidsLimit <= 0 {
		h.PidsLimit = nil
	}
	h.MemorySwappiness = nil
	h.CgroupnsMode = container.CgroupnsModePrivate
	h.IpcMode = container.IPCModePrivate
	h.MaskedPaths, h.ReadonlyPaths = maskedPaths, readonlyPaths
	return warnings
}

// bind is one -v HOST:CONTAINER[:OPTIONS].
type bind struct {
	source, target string
	readonly       bool
	mode           string
}

// parseBind reads a bind as the API has it: absolute paths, options ro, rw, and the ones about
// labels (z, Z) that mean nothing on a host without SELinux.
func parseBind(s string) (bind, error) {
	parts := strings.Split(s, ":")
	if len(parts) < 2 || len(parts) > 3 || parts[0] == "" || parts[1] == "" {
		return bind{}, invalid("invalid volume specification: '%s'", s)
	}
	b := bind{source: parts[0], target: parts[1]}
	if !path.IsAbs(b.source) {
		return bind{}, invalid("invalid volume specification: '%s': named volumes are not supported by this engine: use an absolute path of the host", s)
	}
	if !path.IsAbs(b.target) {
		return bind{}, invalid("invalid volume specification: '%s': invalid mount config for type \"bind\": invalid mount path: '%s' mount path must be absolute", s, b.target)
	}
	b.source, b.target = path.Clean(b.source), path.Clean(b.target)
	if b.target == "/" {
		return bind{}, invalid("invalid volume specification: '%s': invalid specification: destination can't be '/'", s)
	}
	if len(parts) == 3 {
		b.mode = parts[2]
		for _, option := range strings.Split(b.mode, ",") {
			switch option {
			case "ro":
				b.readonly = true
			case "rw", "z", "Z", "rprivate":
			default:
				return bind{}, invalid("invalid volume specification: '%s': invalid mode: %s", s, option)
			}
		}
	}
	return b, nil
}

// binds reads the HostConfig's binds; two at one place are refused.
func binds(h *container.HostConfig) ([]bind, error) {
	var all []bind
	seen := map[string]bool{}
	for _, s := range h.Binds {
		b, err := parseBind(s)
		if err != nil {
			return nil, err
		}
		if seen[b.target] {
			return nil, invalid("Duplicate mount point: %s", b.target)
		}
		seen[b.target] = true
		all = append(all, b)
	}
	return all, nil
}

// parseSignal reads a signal as the API has it: SIGTERM, term, 15, RTMIN+3.
func parseSignal(s string) (unix.Signal, error) {
	var n int
	if _, err := fmt.Sscanf(s, "%d", &n); err == nil && fmt.Sprint(n) == s {
		if n < 1 || n > 64 {
			return 0, invalid("invalid signal: %s", s)
		}
		return unix.Signal(n), nil
	}
	name := strings.ToUpper(s)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	if sig := unix.SignalNum(name); sig != 0 {
		return sig, nil
	}
	for base, first := range map[string]int{"SIGRTMIN": 34, "SIGRTMAX": 64} {
		rest, ok := strings.CutPrefix(name, base)
		if !ok {
			continue
		}
		var offset int
		if rest != "" {
			if _, err := fmt.Sscanf(rest, "%d", &offset); err != nil {
				break
			}
		}
		if n := first + offset; n >= 34 && n <= 64 {
			return unix.Signal(n), nil
		}
	}
	return 0, invalid("invalid signal: %s", s)
}
