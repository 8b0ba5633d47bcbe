//go:build exercise || solution

package whatmaygo

import (
	"slices"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

func TestGarbage(t *testing.T) {
	name := func(s string) digest.Digest { return digest.FromString(s) }
	now := time.Now()
	old, young := now.Add(-time.Hour), now
	blobs := make(map[digest.Digest]Blob)
	hints := make(map[digest.Digest]string)
	put := func(s string, arrived time.Time, hint string, refers ...string) {
		b := Blob{Arrived: arrived}
		for _, r := range refers {
			b.Refers = append(b.Refers, name(r))
		}
		blobs[name(s)] = b
		hints[name(s)] = s + ": " + hint
	}
	put("index", old, "a tag names it", "manifest", "manifest of another platform, never pushed")
	put("manifest", old, "an index names it, and a tag names that", "config", "shared")
	put("config", old, "three steps from a tag are steps as well")
	put("shared", old, "one of the two that name it is alive")
	put("lost manifest", old, "its tag has moved away", "shared", "lost layer", "lost manifest")
	put("lost layer", old, "only garbage names it")
	put("just pushed", young, "its manifest may be on the way")
	put("young manifest", young, "its tag may be on the way", "old layer")
	put("old layer", old, "a manifest that was just pushed names it: the client was told that it need not send it again")
	want := []digest.Digest{name("lost manifest"), name("lost layer")}

	got := Garbage(blobs, map[string]digest.Digest{"v1": name("index")}, now.Add(-time.Minute))
	for _, d := range got {
		if !slices.Contains(want, d) {
			t.Errorf("gone, and needed: %s", hints[d])
		}
	}
	for _, d := range want {
		if !slices.Contains(got, d) {
			t.Errorf("kept, and needless: %s", hints[d])
		}
	}
}
