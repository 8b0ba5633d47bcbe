//go:build linux

package cgroups

import (
	"os"
	"testing"

	"drydock.example/01-chroot/hosttest"
)

func TestRemoveEmptyTakesOnlyWhatIsEmpty(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	parent := hosttest.Cgroup() + "/parent"
	c, err := Create(t.Context(), parent+"/child", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := RemoveEmpty(t.Context(), parent); err != nil {
		t.Fatal(err)
	}
	for _, dir := range c.Paths() {
		if _, err := os.Stat(dir); err != nil {
			t.Errorf("the child went with its parent: %v", err)
		}
	}
	if err := c.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is nothing to remove
		if err := RemoveEmpty(t.Context(), parent); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Load(parent); err == nil {
		t.Error("the empty parent is still there")
	}
}
