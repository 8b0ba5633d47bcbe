//go:build linux

package oci

import (
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"

	namespaces "drydock.example/02-namespaces"
	"drydock.example/02-namespaces/seccomp"
)

// Features is the specification's document about a runtime (features.md).
func Features() features.Features {
	return features.Features{
		OCIVersionMin: "1.0.0",
		OCIVersionMax: specs.Version,
		Hooks:         []string{"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"},
		MountOptions:  namespaces.MountOptions(),
		Linux: &features.Linux{
			Namespaces: []string{"cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"},
			Cgroup:     &features.Cgroup{V1: new(true), V2: new(true), Systemd: new(true), SystemdUser: new(true), Rdma: new(true)},
			Seccomp: &features.Seccomp{
				Enabled: new(true), Actions: names(seccomp.Actions()), Operators: names(seccomp.Operators()), Archs: names(seccomp.Architectures()),
				KnownFlags: names(seccomp.Flags()), SupportedFlags: names(seccomp.Flags()),
			},
			Apparmor:   &features.Apparmor{Enabled: new(true)},
			Selinux:    &features.Selinux{Enabled: new(true)},
			IntelRdt:   &features.IntelRdt{Enabled: new(true), Schemata: new(true), Monitoring: new(true)},
			NetDevices: &features.NetDevices{Enabled: new(true)},

			Capabilities:    namespaces.Capabilities(),
			MemoryPolicy:    &features.MemoryPolicy{Modes: names(namespaces.MemoryModes()), Flags: names(namespaces.MemoryFlags())},
			MountExtensions: &features.MountExtensions{IDMap: &features.IDMap{Enabled: new(true)}},
		},
		Annotations: map[string]string{namespaces.InitAnnotation: "true"},
		// They become properties of a unit of systemd, which may name programs.
		PotentiallyUnsafeConfigAnnotations: []string{"org.systemd.property."},
	}
}

func names[S ~string](list []S) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = string(s)
	}
	return out
}
