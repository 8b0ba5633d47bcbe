//go:build linux

package images

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
)

func TestBlobIsCompleteOrAbsent(t *testing.T) {
	dir := t.TempDir()
	c, err := OpenContent(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := digest.SHA512.FromString("hello")
	for _, tt := range []struct {
		written string
		commit  bool
		here    bool
	}{
		{"hell", true, false},
		{"hello", false, false},
		{"hello", true, true},
	} {
		w, err := c.Writer(want)
		if err != nil {
			t.Fatal(err)
		}
		w.Write([]byte(tt.written))
		if tt.commit {
			err = w.Commit()
			if (err == nil) != tt.here || err != nil && !errdefs.IsDataLoss(err) {
				t.Errorf("Commit after %q: %v", tt.written, err)
			}
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		if c.Has(want) != tt.here {
			t.Errorf("%q, committed %v: Has = %v", tt.written, tt.commit, !tt.here)
		}
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "*", tmpPrefix+"*")); len(files) != 0 {
		t.Errorf("left behind: %s", files)
	}
	if all, err := c.List(); err != nil || len(all) != 1 || all[0] != want {
		t.Errorf("List() = %v, %v", all, err)
	}
	if b, err := c.Bytes(want); string(b) != "hello" || err != nil {
		t.Errorf("Bytes = %q, %v", b, err)
	}
	if err := os.WriteFile(c.path(want), []byte("jello"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Check(want); !errdefs.IsDataLoss(err) {
		t.Errorf("Check of a blob that has changed = %v, want DataLoss", err)
	}
}

func TestOpenContentRemovesWhatAKilledWriterLeft(t *testing.T) {
	dir := t.TempDir()
	c, err := OpenContent(dir)
	if err != nil {
		t.Fatal(err)
	}
	w, err := c.Writer("")
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte("half"))
	if _, err := OpenContent(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(w.file.Name()); !os.IsNotExist(err) {
		t.Errorf("%s is still there (%v)", w.file.Name(), err)
	}
}

func TestContentRefusesDigestsThatAreNone(t *testing.T) {
	c, err := OpenContent(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []digest.Digest{"", "sha256:", "sha256:..", "md5:d41d8cd98f00b204e9800998ecf8427e", "sha256:" + digest.Digest(strings.Repeat("Z", 64))} {
		if _, err := c.Open(d); !errdefs.IsInvalidArgument(err) {
			t.Errorf("Open(%q) = %v, want InvalidArgument", d, err)
		}
		if d == "" {
			continue // a blob whose digest is not known yet
		}
		if _, err := c.Writer(d); !errdefs.IsInvalidArgument(err) {
			t.Errorf("Writer(%q) = %v, want InvalidArgument", d, err)
		}
	}
}
