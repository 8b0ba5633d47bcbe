//go:build linux

package oci

import (
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"
)

// Features is the specification's document about a runtime (features.md).
func Features() features.Features {
	return features.Features{
		OCIVersionMin: "1.0.0",
		OCIVersionMax: specs.Version,
		Hooks:         []string{"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"},
		Linux: &features.Linux{
			Namespaces: []string{"cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"},
			Cgroup:     &features.Cgroup{V1: new(true), V2: new(true), Systemd: new(false), SystemdUser: new(false), Rdma: new(false)},
			Seccomp:    &features.Seccomp{Enabled: new(false)},
			Apparmor:   &features.Apparmor{Enabled: new(false)},
			Selinux:    &features.Selinux{Enabled: new(false)},
			IntelRdt:   &features.IntelRdt{Enabled: new(false)},
			NetDevices: &features.NetDevices{Enabled: new(false)},
		},
	}
}
