//go:build linux

package oci

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// ConfigFile is the name of the config in a bundle.
const ConfigFile = "config.json"

// ReadConfig reads and checks bundle/config.json. The path of the root file
// system is absolute afterwards. Errors name the field, its value and what was
// expected.
func ReadConfig(bundle string) (*specs.Spec, error) {
	spec, _, err := readConfig(bundle)
	return spec, err
}

// readConfig returns the file's bytes too.
func readConfig(bundle string) (*specs.Spec, []byte, error) {
	path := filepath.Join(bundle, ConfigFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("JSON specification file %s not found", path)
	}
	if err != nil {
		return nil, nil, err
	}
	spec, err := parseConfig(b)
	if err == nil {
		err = validate(spec)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	if !filepath.IsAbs(spec.Root.Path) {
		spec.Root.Path = filepath.Join(bundle, spec.Root.Path)
	}
	if st, err := os.Stat(spec.Root.Path); err != nil {
		return nil, nil, fmt.Errorf("%s: root.path: %w", path, err)
	} else if !st.IsDir() {
		return nil, nil, fmt.Errorf("%s: root.path %q is not a directory", path, spec.Root.Path)
	}
	return spec, b, nil
}

// config returns the config that the container was created with. It is a copy:
// the bundle may have been changed since, or be gone.
func (c *container) config() (*specs.Spec, error) {
	path := filepath.Join(c.dir, ConfigFile)
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	spec, err := parseConfig(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return spec, nil
}

// processOf returns the process of a config, or what is prepared without one:
// namespaces with nothing to run in them.
func processOf(spec *specs.Spec) *specs.Process {
	if spec.Process != nil {
		return spec.Process
	}
	return &specs.Process{Cwd: "/"}
}

// config is specs.Spec in two steps. encoding/json looks at every type below
// the one that it is given before it reads a byte, and specs.Spec has five
// operating systems and hardware that few configs mention: what is rare is left
// raw, and looked at where it is present. This halves the time.
type config struct {
	Version     string            `json:"ociVersion"`
	Process     *specs.Process    `json:"process"`
	Root        *specs.Root       `json:"root"`
	Hostname    string            `json:"hostname"`
	Domainname  string            `json:"domainname"`
	Mounts      []specs.Mount     `json:"mounts"`
	Hooks       json.RawMessage   `json:"hooks"`
	Annotations map[string]string `json:"annotations"`
	Linux       *struct {
		Namespaces        []specs.LinuxNamespace `json:"namespaces"`
		UIDMappings       []specs.LinuxIDMapping `json:"uidMappings"`
		GIDMappings       []specs.LinuxIDMapping `json:"gidMappings"`
		Sysctl            map[string]string      `json:"sysctl"`
		CgroupsPath       string                 `json:"cgroupsPath"`
		RootfsPropagation string                 `json:"rootfsPropagation"`
		MaskedPaths       []string               `json:"maskedPaths"`
		ReadonlyPaths     []string               `json:"readonlyPaths"`
		MountLabel        string                 `json:"mountLabel"`
		Seccomp           *specs.LinuxSeccomp    `json:"seccomp"` // large, and in every engine's configs

		Resources    json.RawMessage `json:"resources"`
		Devices      json.RawMessage `json:"devices"`
		NetDevices   json.RawMessage `json:"netDevices"`
		IntelRdt     json.RawMessage `json:"intelRdt"`
		MemoryPolicy json.RawMessage `json:"memoryPolicy"`
		Personality  json.RawMessage `json:"personality"`
		TimeOffsets  json.RawMessage `json:"timeOffsets"`
	} `json:"linux"`
}

// parseConfig decodes a config.json.
func parseConfig(b []byte) (*specs.Spec, error) {
	var c config
	if err := decode("", b, &c); err != nil {
		return nil, err
	}
	spec := &specs.Spec{
		Version: c.Version, Process: c.Process, Root: c.Root, Hostname: c.Hostname, Domainname: c.Domainname,
		Mounts: c.Mounts, Annotations: c.Annotations,
	}
	if err := decode("hooks", c.Hooks, &spec.Hooks); err != nil {
		return nil, err
	}
	l := c.Linux
	if l == nil {
		return spec, nil
	}
	spec.Linux = &specs.Linux{
		Namespaces: l.Namespaces, UIDMappings: l.UIDMappings, GIDMappings: l.GIDMappings, Sysctl: l.Sysctl,
		CgroupsPath: l.CgroupsPath, RootfsPropagation: l.RootfsPropagation,
		MaskedPaths: l.MaskedPaths, ReadonlyPaths: l.ReadonlyPaths, MountLabel: l.MountLabel, Seccomp: l.Seccomp,
	}
	for _, part := range []struct {
		field string
		raw   json.RawMessage
		into  any
	}{
		{"linux.resources", l.Resources, &spec.Linux.Resources},
		{"linux.devices", l.Devices, &spec.Linux.Devices},
		{"linux.netDevices", l.NetDevices, &spec.Linux.NetDevices},
		{"linux.intelRdt", l.IntelRdt, &spec.Linux.IntelRdt},
		{"linux.memoryPolicy", l.MemoryPolicy, &spec.Linux.MemoryPolicy},
		{"linux.personality", l.Personality, &spec.Linux.Personality},
		{"linux.timeOffsets", l.TimeOffsets, &spec.Linux.TimeOffsets},
	} {
		if err := decode(part.field, part.raw, part.into); err != nil {
			return nil, err
		}
	}
	return spec, nil
}

// decode unmarshals the part of a config that stands at field, and says where
// in the file an error is.
func decode(field string, b []byte, into any) error {
	if b == nil {
		return nil
	}
	err := json.Unmarshal(b, into)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		upTo := b[:min(max(syntax.Offset, 0), int64(len(b)))]
		return fmt.Errorf("line %d: not JSON: %w", 1+bytes.Count(upTo, []byte("\n")), err)
	case errors.As(err, &kind):
		if field != "" && kind.Field != "" {
			field += "."
		}
		return fmt.Errorf("%s%s: a JSON %s stands there, want %s", field, kind.Field, kind.Value, kind.Type)
	}
	return err
}
