package lesson

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Exercises proves each exercise in the directory dir, a path relative to the
// test's package: its starter compiles and fails its test (go test -tags
// exercise), and its solution passes (go test -tags solution).
func Exercises(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	proved := 0
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		proved++
		t.Run(e.Name(), func(t *testing.T) {
			t.Parallel()
			proveExercise(t, filepath.Join(dir, e.Name()))
		})
	}
	if proved == 0 {
		t.Errorf("no exercise in %s", dir)
	}
}

func proveExercise(t *testing.T, dir string) {
	test := func(tag string) (string, error) {
		out, err := exec.Command("go", "test", "-v", "-tags", tag, "./"+filepath.ToSlash(dir)).CombinedOutput()
		return string(out), err
	}
	solution, err := test("solution")
	if err != nil {
		t.Fatalf("the solution fails: %v\n%s", err, solution)
	}
	if strings.Contains(solution, "--- SKIP") {
		t.Skipf("the exercise is skipped here:\n%s", solution)
	}
	starter, err := test("exercise")
	if err == nil {
		t.Errorf("the starter passes:\n%s", starter)
	} else if !strings.Contains(starter, "--- FAIL") {
		t.Errorf("the starter does not get as far as its test: %v\n%s", err, starter)
	}
}
