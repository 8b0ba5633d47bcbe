//go:build linux

package overlayfs

import (
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// TestImpliedDirectoriesKeepTheirAttributes: a layer that names tmp/x and not
// tmp does not change the image's tmp.
func TestImpliedDirectoriesKeepTheirAttributes(t *testing.T) {
	base := []item{directory("tmp", 0o1777), directory("a", 0o750).owned(1, 2).xattr("user.x", "y"), directory("a/b", 0o700).owned(3, 4), regular("f", "")}
	for _, c := range []struct {
		name   string
		layers [][]item
		extra  bool
		want   map[string]string
	}{
		{"no implied directory", [][]item{base, {directory("tmp", 0o755), regular("tmp/x", "")}}, false,
			map[string]string{"tmp": "mode=40755"}},
		{"one", [][]item{base, {regular("tmp/x", "")}}, true,
			map[string]string{"tmp": "mode=41777 owner=0:0 mtime=1700000000.123456789", "tmp/x": "mode=100644", "a": "mode=40750"}},
		{"two levels", [][]item{base, {regular("a/b/c/x", "")}}, true,
			map[string]string{"a": `mode=40750 owner=1:2 mtime=1700000000.123456789 user.x="y"`, "a/b": "mode=40700 owner=3:4", "a/b/c": "mode=40755 owner=0:0 mtime=0.0"}},
		{"a level above that the layer does name", [][]item{base, {directory("a", 0o711), regular("a/b/x", "")}}, true,
			map[string]string{"a": "mode=40711 owner=0:0", "a/b": "mode=40700 owner=3:4"}},
		{"a layer above that names it", [][]item{base, {regular("tmp/x", "")}, {directory("tmp", 0o711)}}, false,
			map[string]string{"tmp": "mode=40711"}},
		{"a layer above that hides it", [][]item{base, {regular("tmp/x", "")}, {regular(".wh.tmp", "")}}, false,
			map[string]string{"tmp": ""}},
		{"a layer between that hides it", [][]item{base, {regular(".wh.tmp", "")}, {regular("tmp/x", "")}}, false,
			map[string]string{"tmp": "mode=40755 owner=0:0 mtime=0.0"}},
		{"the same layer hides it", [][]item{base, {regular(".wh.tmp", ""), regular("tmp/x", "")}}, false,
			map[string]string{"tmp": "mode=40755 owner=0:0 mtime=0.0"}},
		{"nothing below", [][]item{{regular("n/x", "")}, {regular("n/y", "")}}, false,
			map[string]string{"n": "mode=40755 owner=0:0 mtime=0.0", "n/x": "mode", "n/y": "mode"}},
		{"twice", [][]item{base, {regular("tmp/x", "")}, {regular("tmp/y", "")}}, true,
			map[string]string{"tmp": "mode=41777", "tmp/x": "mode", "tmp/y": "mode"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := scratch(t)
			s := openStore(t, dir)
			var diffIDs []digest.Digest
			for _, items := range c.layers {
				diffIDs = append(diffIDs, apply(t, s, items...))
			}
			lower, err := s.Lower(diffIDs)
			if err != nil {
				t.Fatal(err)
			}
			if extra := len(lower) > len(diffIDs); extra != c.extra {
				t.Errorf("%d directories for %d layers", len(lower), len(diffIDs))
			}
			again, err := s.Lower(diffIDs)
			if err != nil || strings.Join(again, ":") != strings.Join(lower, ":") {
				t.Errorf("asked again: %v, %v", again, err)
			}
			// An empty layer below, so that there are always two.
			m := mkdirs(t, dir, "m", "empty")
			mounted(t, m[0], append(lower, m[1]), "", "", true)
			got := describe(t, m[0])
			for name, want := range c.want {
				if !strings.Contains(got[name], want) || want == "" && got[name] != "" {
					t.Errorf("%s is %q, want %q", name, got[name], want)
				}
			}
			for _, d := range diffIDs {
				if err := s.Remove(t.Context(), d); err != nil {
					t.Error(err)
				}
			}
			s.empty(t)
		})
	}
}

func TestLowerOrder(t *testing.T) {
	s := openStore(t, scratch(t))
	a, b := apply(t, s, regular("f", "a")), apply(t, s, regular("f", "b"))
	lower, err := s.Lower([]digest.Digest{a, b})
	if err != nil || len(lower) != 2 || read(t, lower[0]+"/f") != "b" || read(t, lower[1]+"/f") != "a" {
		t.Errorf("%v, %v: want the top, then the base", lower, err)
	}
	if none, err := s.Lower(nil); err != nil || len(none) != 0 {
		t.Errorf("no layers: %v, %v", none, err)
	}
	if _, err := os.Stat(lower[0]); err != nil || lower[0][0] != '/' {
		t.Errorf("%v is no absolute path of a directory: %v", lower, err)
	}
}
