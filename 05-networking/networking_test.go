//go:build linux

package networking

import (
	"os"
	"testing"

	"drydock.example/01-chroot/hosttest"
)

func TestMain(m *testing.M) { os.Exit(hosttest.Run(m)) }
