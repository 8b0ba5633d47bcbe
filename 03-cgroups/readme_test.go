//go:build linux

package cgroups_test

import (
	"testing"

	"drydock.example/01-chroot/hosttest"
	"drydock.example/01-chroot/lesson"
)

// TestReadme follows a reader from the first chapter to the end of this one, in
// a fresh copy. In each chapter before, a test of this name follows that one alone.
func TestReadme(t *testing.T) {
	lesson.Path(t, "../01-chroot/README.md", "../02-namespaces/README.md", "README.md")
}

// TestExercises proves that each starter fails and each solution passes.
func TestExercises(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.Program("go"))
	lesson.Exercises(t, "exercises")
}
