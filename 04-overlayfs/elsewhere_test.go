//go:build !linux

package overlayfs_test

import (
	"testing"

	"drydock.example/01-chroot/lesson"
)

func TestElsewhere(t *testing.T) { lesson.Elsewhere(t) }
