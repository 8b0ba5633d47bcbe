//go:build linux

package lesson

import (
	"os"
	"testing"

	"drydock.example/01-chroot/hosttest"
)

func TestMain(m *testing.M) { os.Exit(hosttest.Run(m)) }

func TestSample(t *testing.T) { Test(t, "testdata/sample.md") }

func TestFreshCopy(t *testing.T) { Path(t, "testdata/sample.md", "testdata/next.md") }
