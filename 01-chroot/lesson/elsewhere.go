package lesson

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// Elsewhere is a chapter's only test on a system without a Linux kernel. It
// fails, or is skipped with -short, and says what to type.
func Elsewhere(t *testing.T) {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	say := t.Fatalf
	if testing.Short() {
		say = t.Skipf
	}
	say("the chapter's tests need a Linux kernel, and this is %s. Type, in the repository's root:\n\tvagrant up\n\tgo test -run TestCourse/%s .", runtime.GOOS, filepath.Base(dir))
}
