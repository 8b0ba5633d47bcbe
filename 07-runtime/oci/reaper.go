//go:build linux

package oci

import (
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// InitAnnotation, with the value "true" in a config, has a process 1 beside the
// program: it waits for orphans and passes signals on (namespaces.Options.Reaper;
// docker run --init). The specification has no field for that: other engines
// mount a program of theirs and put it before process.args. The name is this
// runtime's own, and [Features] tells of it, since annotations that a runtime
// does not know are passed over (runtime-spec, config.md#annotations).
const InitAnnotation = "drydock.init"

// reaped reports whether the config asks for a process 1 beside the program.
func reaped(spec *specs.Spec) bool { return spec.Annotations[InitAnnotation] == "true" }

func checkInit(spec *specs.Spec) error {
	const field = "annotations[" + InitAnnotation + "]"
	value, ok := spec.Annotations[InitAnnotation]
	if ok && value != "true" && value != "false" {
		return wrong(field, value, `"true" or "false"`)
	}
	own := func(ns specs.LinuxNamespace) bool { return ns.Type == specs.PIDNamespace && ns.Path == "" }
	if reaped(spec) && !slices.ContainsFunc(spec.Linux.Namespaces, own) {
		return wrong(field, value, "a new pid namespace with it: orphans go to its process 1")
	}
	return nil
}
