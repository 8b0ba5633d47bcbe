//go:build linux

package overlayfs

import (
	"os"
	"testing"

	"drydock.example/01-chroot/hosttest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(envApply); dir != "" {
		os.Exit(applyInput(dir))
	}
	os.Exit(hosttest.Run(m))
}
