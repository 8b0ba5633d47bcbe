//go:build linux

package namespaces

import (
	"testing"

	"drydock.example/01-chroot/lesson"
)

func TestReadme(t *testing.T) {
	t.Parallel()
	lesson.Test(t, "README.md")
}

func TestExercises(t *testing.T) {
	t.Parallel()
	lesson.Exercises(t, "exercises")
}
