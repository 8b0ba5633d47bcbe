//go:build linux

package oci

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	namespaces "drydock.example/02-namespaces"
)

// validate refuses configs that the specification forbids, and those that ask
// for what this runtime cannot do: silence would be taken for consent.
func validate(spec *specs.Spec) error {
	for _, check := range []func(*specs.Spec) error{
		checkVersion, checkRoot, checkProcess, checkMounts, checkHooks, checkLinux, checkNamespaces, checkInit,
	} {
		if err := check(spec); err != nil {
			return err
		}
	}
	return nil
}

// wrong words an error about one field.
func wrong(field string, value any, want string) error {
	if s, ok := value.(string); ok {
		value = strconv.Quote(s)
	}
	return fmt.Errorf("%s: %v: want %s", field, value, want)
}

// checkVersion takes every 1.x: minor versions of the specification only add.
func checkVersion(spec *specs.Spec) error {
	release, _, _ := strings.Cut(spec.Version, "-")
	parts := strings.Split(release, ".")
	for _, p := range parts {
		if _, err := strconv.ParseUint(p, 10, 31); err != nil || len(parts) != 3 {
			return wrong("ociVersion", spec.Version, "a version like "+strconv.Quote(specs.Version))
		}
	}
	if parts[0] != "1" {
		return wrong("ociVersion", spec.Version, "1.x.y, which is what this runtime knows")
	}
	return nil
}

func checkRoot(spec *specs.Spec) error {
	if spec.Root == nil || spec.Root.Path == "" {
		return fmt.Errorf("root.path: missing: want the directory of the root file system")
	}
	return nil
}

// checkProcess lets a config have no process: it is needed when the container is
// started (runtime-spec, config.md#process).
func checkProcess(spec *specs.Spec) error {
	if spec.Process == nil {
		return nil
	}
	return checkOneProcess(spec.Process)
}

func checkOneProcess(p *specs.Process) error {
	switch {
	case len(p.Args) == 0 || p.Args[0] == "":
		return fmt.Errorf("process.args: empty: want the program to run and its arguments")
	case !filepath.IsAbs(p.Cwd):
		return wrong("process.cwd", p.Cwd, "an absolute path, as seen inside")
	}
	for i, e := range p.Env {
		if name, _, ok := strings.Cut(e, "="); !ok || name == "" || strings.Contains(e, "\x00") {
			return wrong(fmt.Sprintf("process.env[%d]", i), e, "NAME=value")
		}
	}
	for i, a := range p.Args {
		if strings.Contains(a, "\x00") {
			return wrong(fmt.Sprintf("process.args[%d]", i), a, "text without NUL")
		}
	}
	return checkRlimits(p)
}

func checkRlimits(p *specs.Process) error {
	seen := map[string]bool{}
	for i, r := range p.Rlimits {
		field := fmt.Sprintf("process.rlimits[%d]", i)
		if !strings.HasPrefix(r.Type, "RLIMIT_") {
			return wrong(field+".type", r.Type, "a name like RLIMIT_NOFILE")
		}
		if seen[r.Type] {
			return wrong(field+".type", r.Type, "each type once")
		}
		seen[r.Type] = true
		if r.Soft > r.Hard {
			return wrong(field+".soft", r.Soft, fmt.Sprintf("no more than hard, %d", r.Hard))
		}
	}
	return nil
}

func checkMounts(spec *specs.Spec) error {
	for i, m := range spec.Mounts {
		field := fmt.Sprintf("mounts[%d].destination", i)
		if m.Destination == "" {
			return fmt.Errorf("%s: missing: want a path inside the container", field)
		}
		if strings.Contains(m.Destination+m.Source, "\x00") {
			return wrong(field, m.Destination, "a path without NUL")
		}
	}
	return nil
}

func checkHooks(spec *specs.Spec) error {
	for name, hooks := range allHooks(spec) {
		for i, h := range hooks {
			field := fmt.Sprintf("hooks.%s[%d]", name, i)
			if !filepath.IsAbs(h.Path) {
				return wrong(field+".path", h.Path, "an absolute path")
			}
			if h.Timeout != nil && *h.Timeout <= 0 {
				return wrong(field+".timeout", *h.Timeout, "seconds, more than 0")
			}
		}
	}
	return nil
}

func allHooks(spec *specs.Spec) map[string][]specs.Hook {
	h := spec.Hooks
	if h == nil {
		return nil
	}
	return map[string][]specs.Hook{
		"prestart":        h.Prestart, //nolint:staticcheck // deprecated by the specification, and still used
		"createRuntime":   h.CreateRuntime,
		"createContainer": h.CreateContainer,
		"startContainer":  h.StartContainer,
		"poststart":       h.Poststart,
		"poststop":        h.Poststop,
	}
}

func checkLinux(spec *specs.Spec) error {
	l := spec.Linux
	if l == nil {
		return fmt.Errorf("linux: missing: want the section that lists the namespaces")
	}
	switch l.RootfsPropagation {
	case "", "private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable":
	default:
		return wrong("linux.rootfsPropagation", l.RootfsPropagation, "one of shared, slave, private, unbindable")
	}
	for list, paths := range map[string][]string{"linux.maskedPaths": l.MaskedPaths, "linux.readonlyPaths": l.ReadonlyPaths} {
		for i, p := range paths {
			if !filepath.IsAbs(p) {
				return wrong(fmt.Sprintf("%s[%d]", list, i), p, "an absolute path, as seen inside")
			}
		}
	}
	for i, d := range l.Devices {
		if !filepath.IsAbs(d.Path) {
			return wrong(fmt.Sprintf("linux.devices[%d].path", i), d.Path, "an absolute path, as seen inside")
		}
		switch d.Type {
		case "c", "u", "b", "p":
		default:
			return wrong(fmt.Sprintf("linux.devices[%d].type", i), d.Type, "c, u, b or p")
		}
	}
	return checkHost(spec)
}

// checkHost refuses what the machine lacks and what is not done: silence would
// be taken for consent. Its words are runc's.
func checkHost(spec *specs.Spec) error {
	l, p := spec.Linux, processOf(spec)
	switch {
	case p.ApparmorProfile != "" && !namespaces.AppArmor():
		return fmt.Errorf("process.apparmorProfile: apparmor: config provided but apparmor not supported")
	case p.SelinuxLabel != "" && !namespaces.SELinux():
		return fmt.Errorf("selinux label is specified in config, but selinux is disabled or not supported")
	}
	if err := checkNetDevices(spec); err != nil {
		return err
	}
	return checkRDT(l.IntelRdt)
}

func checkNamespaces(spec *specs.Spec) error {
	listed := map[specs.LinuxNamespaceType]specs.LinuxNamespace{}
	for i, ns := range spec.Linux.Namespaces {
		field := fmt.Sprintf("linux.namespaces[%d]", i)
		switch ns.Type {
		case specs.PIDNamespace, specs.NetworkNamespace, specs.MountNamespace, specs.IPCNamespace,
			specs.UTSNamespace, specs.UserNamespace, specs.CgroupNamespace, specs.TimeNamespace:
		default:
			return wrong(field+".type", string(ns.Type), "one of pid, network, mount, ipc, uts, user, cgroup, time")
		}
		if _, ok := listed[ns.Type]; ok {
			return wrong(field+".type", string(ns.Type), "each type once")
		}
		if ns.Path != "" && !filepath.IsAbs(ns.Path) {
			return wrong(field+".path", ns.Path, "an absolute path")
		}
		listed[ns.Type] = ns
	}
	_, uts := listed[specs.UTSNamespace]
	if name := spec.Hostname; name != "" && !uts {
		return wrong("hostname", name, "a uts namespace with it: without one the host would be renamed")
	}
	if name := spec.Domainname; name != "" && !uts {
		return wrong("domainname", name, "a uts namespace with it: without one the host would be renamed")
	}
	user, ok := listed[specs.UserNamespace]
	if mapped := len(spec.Linux.UIDMappings)+len(spec.Linux.GIDMappings) > 0; mapped && !ok {
		return fmt.Errorf("linux.uidMappings: want a user namespace with them")
	} else if ok && user.Path == "" && (len(spec.Linux.UIDMappings) == 0 || len(spec.Linux.GIDMappings) == 0) {
		return fmt.Errorf("linux.namespaces: a new user namespace: want linux.uidMappings and linux.gidMappings with it")
	}
	return nil
}
