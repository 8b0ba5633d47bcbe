//go:build linux

package chroot

import (
	"testing"

	"drydock.example/01-chroot/hosttest"
)

// The README's commands and the exercises take root and a Go build cache.
func TestAsAnOrdinaryUser(t *testing.T) { hosttest.AsOrdinary(t, "Readme|Exercises") }
