//go:build linux

package cgroups_test

import (
	"testing"

	"drydock.example/01-chroot/hosttest"
	"drydock.example/01-chroot/lesson"
)

func TestReadme(t *testing.T) { lesson.Test(t, "README.md") }

// TestExercises proves that each starter fails and each solution passes.
func TestExercises(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.Program("go"))
	lesson.Exercises(t, "exercises")
}
