//go:build linux

package oci

import (
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"

	namespaces "drydock.example/02-namespaces"
)

// reaped reports whether the config asks for a process 1 beside the program.
func reaped(spec *specs.Spec) bool { return spec.Annotations[namespaces.InitAnnotation] == "true" }

func checkInit(spec *specs.Spec) error {
	const field = "annotations[" + namespaces.InitAnnotation + "]"
	value, ok := spec.Annotations[namespaces.InitAnnotation]
	if ok && value != "true" && value != "false" {
		return wrong(field, value, `"true" or "false"`)
	}
	own := func(ns specs.LinuxNamespace) bool { return ns.Type == specs.PIDNamespace && ns.Path == "" }
	if reaped(spec) && !slices.ContainsFunc(spec.Linux.Namespaces, own) {
		return wrong(field, value, "a new pid namespace with it: orphans go to its process 1")
	}
	return nil
}
