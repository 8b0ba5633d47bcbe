//go:build linux

package engine

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/moby/moby/api/types/system"
	"golang.org/x/sys/unix"

	cgroups "drydock.example/03-cgroups"
)

// Version returns the versions of the engine and of what it runs on. That of the API is for whoever
// serves one.
func (e *Engine) Version(ctx context.Context) (system.VersionResponse, error) {
	kernel, err := kernelVersion()
	if err != nil {
		return system.VersionResponse{}, err
	}
	return system.VersionResponse{
		Platform:      system.PlatformInfo{Name: "Drydock"},
		Version:       e.opt.Version,
		Os:            runtime.GOOS,
		Arch:          runtime.GOARCH,
		GoVersion:     runtime.Version(),
		KernelVersion: kernel,
		Components: []system.ComponentVersion{{
			Name: "Engine", Version: e.opt.Version,
			Details: map[string]string{
				"Os": runtime.GOOS, "Arch": runtime.GOARCH,
				"GoVersion": runtime.Version(), "KernelVersion": kernel,
			},
		}},
	}, nil
}

// Info returns what the engine has and what the host can do.
func (e *Engine) Info(ctx context.Context) (system.Info, error) {
	kernel, err := kernelVersion()
	if err != nil {
		return system.Info{}, err
	}
	mode, err := cgroups.Detect()
	if err != nil {
		return system.Info{}, err
	}
	imgs, err := e.images.List()
	if err != nil {
		return system.Info{}, err
	}
	var si unix.Sysinfo_t
	if err := unix.Sysinfo(&si); err != nil {
		return system.Info{}, os.NewSyscallError("sysinfo", err)
	}
	hostname, err := os.Hostname()
	if err != nil {
		return system.Info{}, err
	}
	info := system.Info{
		ID:                 e.id,
		Images:             len(imgs),
		Driver:             storageDriver,
		DriverStatus:       [][2]string{{"Cgroup Mode", mode.String()}, {"Bridge", e.bridge.link}},
		Plugins:            system.PluginsInfo{Volume: []string{}, Network: []string{"bridge", "host", "null"}, Log: []string{"json-file"}},
		MemoryLimit:        true,
		SwapLimit:          swapLimits(),
		CPUCfsPeriod:       true,
		CPUCfsQuota:        true,
		CPUShares:          true,
		PidsLimit:          true,
		IPv4Forwarding:     forwards(),
		NFd:                openFiles(),
		NGoroutines:        runtime.NumGoroutine(),
		SystemTime:         time.Now().Format(time.RFC3339Nano),
		LoggingDriver:      "json-file",
		CgroupDriver:       "cgroupfs",
		CgroupVersion:      "1",
		KernelVersion:      kernel,
		OperatingSystem:    osRelease(),
		OSType:             runtime.GOOS,
		Architecture:       machine(),
		IndexServerAddress: "https://index.docker.io/v1/",
		NCPU:               runtime.NumCPU(),
		MemTotal:           int64(si.Totalram) * int64(si.Unit),
		DockerRootDir:      e.opt.Root,
		Name:               hostname,
		Labels:             []string{},
		ServerVersion:      e.opt.Version,
		Runtimes:           map[string]system.RuntimeWithStatus{"drydock": {Runtime: system.Runtime{Path: e.opt.Runtime}}},
		DefaultRuntime:     "drydock",
		LiveRestoreEnabled: true,
		SecurityOptions:    []string{"name=seccomp,profile=builtin", "name=cgroupns"},
		CDISpecDirs:        []string{},
		Warnings:           []string{},
	}
	if mode == cgroups.V2 {
		info.CgroupVersion = "2"
	}
	if !info.SwapLimit {
		info.Warnings = append(info.Warnings, "WARNING: No swap limit support")
	}
	for _, c := range e.all() {
		rec, _, _ := c.snapshot()
		info.Containers++
		if rec.State.running() {
			info.ContainersRunning++
		} else {
			info.ContainersStopped++
		}
	}
	return info, nil
}

// swapLimits tells whether memory and swap can be limited together.
func swapLimits() bool {
	file := "/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes"
	if mode, err := cgroups.Detect(); err == nil && mode == cgroups.V2 {
		file = "/proc/swaps" // there when the kernel is built with swap, and then so is memory.swap.max
	}
	_, err := os.Stat(file)
	return err == nil
}

func forwards() bool {
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
	return err == nil && strings.TrimSpace(string(b)) == "1"
}

func openFiles() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return len(entries)
}

func uname() (unix.Utsname, error) {
	var u unix.Utsname
	err := unix.Uname(&u)
	return u, os.NewSyscallError("uname", err)
}

func kernelVersion() (string, error) {
	u, err := uname()
	return unix.ByteSliceToString(u.Release[:]), err
}

// machine is the architecture in the kernel's words, as docker info has it.
func machine() string {
	u, err := uname()
	if err != nil {
		return runtime.GOARCH
	}
	return unix.ByteSliceToString(u.Machine[:])
}

// osRelease is the distribution's name (os-release(5)).
func osRelease() string {
	for _, file := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		b, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			if value, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
				return strings.Trim(strings.TrimSpace(value), `"'`)
			}
		}
	}
	return fmt.Sprintf("Linux (%s)", runtime.GOARCH)
}
