//go:build linux

package hosttest

import (
	"slices"
	"strings"
	"testing"
)

func TestARequirementNamesWhatIsMissing(t *testing.T) {
	for _, test := range []struct {
		need Requirement
		want string
	}{
		{Kernel(99, 1), "a kernel of version 99.1 (this is "},
		{Program("a-program-that-nobody-has"), "the program a-program-that-nobody-has"},
	} {
		if err := test.need(); err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("got %v, want %q…", err, test.want)
		}
	}
	for _, need := range []Requirement{Kernel(4, 18), Program("go")} {
		if err := need(); err != nil {
			t.Errorf("got %v, want it met", err)
		}
	}
	if (CgroupV1() == nil) == (CgroupV2() == nil) {
		t.Errorf("cgroup v1: %v, v2: %v; the memory controller is in one of them", CgroupV1(), CgroupV2())
	}
}

func TestFuzzingIsRecognized(t *testing.T) {
	for args, want := range map[string]bool{
		"-test.v -test.run=X":           false,
		"-test.fuzz=":                   false,
		"-test.fuzz=FuzzX -test.v":      true,
		"-test.fuzzworker -test.fuzz=X": true,
		"--test.fuzzcachedir=/x":        false,
	} {
		if got := fuzzing(append([]string{"x.test"}, strings.Fields(args)...)); got != want {
			t.Errorf("%s: %v, want %v", args, got, want)
		}
	}
}

func TestSnapshotsDifferInWhatChanged(t *testing.T) {
	before := snapshot{"a", "b", "c"}
	if d := before.diff(snapshot{"a", "b", "c"}); d != nil {
		t.Errorf("equal snapshots differ: %q", d)
	}
	want := []string{"gone:  a", "added: bb", "gone:  c", "added: d"}
	if d := before.diff(snapshot{"b", "bb", "d"}); !slices.Equal(d, want) {
		t.Errorf("got %q, want %q", d, want)
	}
}
