//go:build !linux

package lesson

import "testing"

func console(t *testing.T, _, _ string, _ ...page) {
	t.Skip("requires Linux: run the tests in the VM")
}
