//go:build linux

package namespaces

import (
	"testing"

	"drydock.example/01-chroot/lesson"
)

func TestReadme(t *testing.T) { lesson.Test(t, "README.md") }

func TestExercises(t *testing.T) { lesson.Exercises(t, "exercises") }
