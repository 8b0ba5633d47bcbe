//go:build !linux

package networking_test

import (
	"testing"

	"drydock.example/01-chroot/lesson"
)

func TestElsewhere(t *testing.T) { lesson.Elsewhere(t) }
