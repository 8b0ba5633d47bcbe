//go:build linux

package cgroups_test

import (
	"testing"

	"drydock.example/01-chroot/hosttest"
	"drydock.example/01-chroot/lesson"
)

func TestReadme(t *testing.T) { lesson.Test(t, "README.md") }

// TestReadersPath goes from the first chapter to the end of this one, in a fresh
// copy of the repository.
func TestReadersPath(t *testing.T) {
	t.Parallel()
	hosttest.Require(t, hosttest.TimeNamespaces) // chapter 2 shows them
	lesson.Path(t, "../01-chroot/README.md", "../02-namespaces/README.md", "README.md")
}

// TestExercises proves that each starter fails and each solution passes.
func TestExercises(t *testing.T) {
	t.Parallel()
	hosttest.Require(t, hosttest.Root, hosttest.Program("go"))
	lesson.Exercises(t, "exercises")
}
