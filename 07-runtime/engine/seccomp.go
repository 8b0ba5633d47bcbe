//go:build linux

package engine

import (
	"strings"

	"github.com/moby/moby/api/types/container"
	mobyseccomp "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"

	namespaces "drydock.example/02-namespaces"
	"drydock.example/02-namespaces/seccomp"
)

// security is what a HostConfig's SecurityOpt asks for.
type security struct {
	seccomp         string // a profile's JSON text; "unconfined"; or "" for the engine's own
	noNewPrivileges bool
}

const unconfined = "unconfined"

// parseSecurity reads the options as the API has them, KEY=VALUE or, in older clients, KEY:VALUE.
// A profile comes as its text: the client has read the file.
func parseSecurity(h *container.HostConfig) (security, error) {
	var s security
	for _, opt := range h.SecurityOpt {
		if opt == "no-new-privileges" {
			s.noNewPrivileges = true
			continue
		}
		key, value, ok := strings.Cut(opt, "=")
		if !ok {
			key, value, ok = strings.Cut(opt, ":")
		}
		switch {
		case !ok:
			return s, invalid("invalid --security-opt 1: %q", opt)
		case key == "no-new-privileges" && (value == "true" || value == "false"):
			s.noNewPrivileges = value == "true"
		case key == "seccomp" && value == "builtin":
			s.seccomp = ""
		case key == "seccomp":
			s.seccomp = value
		case key == "apparmor" && value == unconfined, key == "label" && value == "disable":
			// This engine confines by neither.
		case key == "apparmor", key == "label":
			return s, invalid("--security-opt %s: %s is not supported by this engine", opt, key)
		default:
			return s, invalid("invalid --security-opt 2: %q", opt)
		}
	}
	return s, nil
}

// checkSecurity refuses options, and profiles, that a start would stumble over.
func checkSecurity(h *container.HostConfig) error {
	s, err := parseSecurity(h)
	if err != nil || s.seccomp == "" {
		return err
	}
	profile, err := s.profile(h, namespaces.NewSpec("/", "none"))
	if err == nil && profile != nil {
		_, err = seccomp.Compile(profile)
	}
	if err != nil {
		return invalid("--security-opt seccomp: %w", err)
	}
	return nil
}

// profile is the system call filter of a container with the spec's capabilities; nil is none.
func (s security) profile(h *container.HostConfig, spec *specs.Spec) (*specs.LinuxSeccomp, error) {
	switch {
	case s.seccomp == unconfined, s.seccomp == "" && h.Privileged:
		return nil, nil
	case s.seccomp == "":
		return mobyseccomp.GetDefaultProfile(spec)
	}
	return mobyseccomp.LoadProfile(s.seccomp, spec)
}
