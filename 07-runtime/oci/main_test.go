//go:build linux

package oci_test

import (
	"os"
	"testing"

	"drydock.example/01-chroot/hosttest"
)

func TestMain(m *testing.M) { os.Exit(hosttest.Run(m)) }
