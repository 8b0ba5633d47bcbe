//go:build linux

package images

import (
	"fmt"
	"strings"
	"testing"
)

// drawn writes a tree as a line for each layer: how deep it stands, its size,
// and the tags of the images that end there.
func drawn(n *Node, depth int) string {
	var b strings.Builder
	for _, above := range n.Above {
		again := ""
		if above.Again {
			again = " again"
		}
		fmt.Fprintf(&b, "%d %d%s", depth, above.Unpacked, again)
		for _, img := range above.Images {
			b.WriteString(" " + strings.Join(img.Tags, " "))
		}
		b.WriteString("\n" + drawn(above, depth+1))
	}
	return b.String()
}

func TestTree(t *testing.T) {
	s, _ := openStore(t)
	base := [2]string{"base", strings.Repeat("b", 1000)}
	create(t, s, "base:1", base)
	create(t, s, "one:1", base, [2]string{"top", strings.Repeat("1", 100)})
	two := create(t, s, "two:1", base, [2]string{"top", strings.Repeat("2", 10)}, [2]string{"more", "x"})
	create(t, s, "upside:down", [2]string{"top", strings.Repeat("1", 100)}, base)
	if err := s.Tag("one:1", "one:also"); err != nil {
		t.Fatal(err)
	}
	root, err := s.Tree()
	if err != nil {
		t.Fatal(err)
	}
	// Which sibling comes first is up to their digests.
	got := drawn(root, 0)
	for _, want := range []string{
		"1 100 docker.io/library/one:1 docker.io/library/one:also\n",
		"1 10\n2 1 docker.io/library/two:1\n",
	} {
		if !strings.Contains(strings.ReplaceAll(got, " again", ""), want) {
			t.Errorf("the tree is\n%swhich lacks\n%s", got, want)
		}
	}
	if n := strings.Count(got, "again"); n != 2 {
		t.Errorf("%d layers stand in the tree a second time, want 2:\n%s", n, got)
	}
	unpacked, packed := root.Disk()
	if want := int64(1000 + 100 + 10 + 1); unpacked != want {
		t.Errorf("unpacked %d bytes, want %d: each layer once", unpacked, want)
	}
	usage, err := s.Usage()
	if err != nil {
		t.Fatal(err)
	}
	if packed <= 0 || unpacked+packed > usage {
		t.Errorf("blobs of %d bytes, and all of the store is %d", packed, usage)
	}
	if two.Size != 1011 {
		t.Errorf("size of the image %d", two.Size)
	}
}
