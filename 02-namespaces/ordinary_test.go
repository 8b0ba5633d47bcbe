//go:build linux

package namespaces

import (
	"testing"

	"drydock.example/01-chroot/hosttest"
)

// What an ordinary user may ask a container for stands in rootless_test.go: those
// tests are root, to become one. These are the others.
func TestAsAnOrdinaryUser(t *testing.T) { hosttest.AsOrdinary(t, "Readme|Exercises") }
