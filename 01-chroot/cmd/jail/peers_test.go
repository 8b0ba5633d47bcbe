//go:build linux

package main

import (
	"testing"

	"drydock.example/01-chroot/explain/stracetest"
)

func TestWhatOthersAskTheKernel(t *testing.T) {
	root := newRoot(t)
	stracetest.Table(t, "../../README.md", func(t *testing.T, program string) []string {
		if program == "jail" {
			return jail(t, "--pivot", "--drop", root, "sh", "-c", ":").Args
		}
		return stracetest.Runtime(t, program, breakout(t), "-h")
	})
}
