//go:build linux

package cgroups_test

import (
	"os/exec"
	"testing"

	"drydock.example/01-chroot/hosttest"
	"drydock.example/01-chroot/lesson"
)

func TestReadme(t *testing.T) { lesson.Test(t, "README.md") }

// TestExercises proves that each starter fails and each solution passes.
func TestExercises(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.Program("go"))
	for _, dir := range []string{"./exercises/01-by-hand", "./exercises/02-nobody-escapes"} {
		if out, err := exec.Command("go", "test", "-tags", "exercise", dir).CombinedOutput(); err == nil {
			t.Errorf("%s: the starter passes:\n%s", dir, out)
		}
		if out, err := exec.Command("go", "test", "-tags", "solution", dir).CombinedOutput(); err != nil {
			t.Errorf("%s: the solution fails:\n%s", dir, out)
		}
	}
}
