//go:build linux

package registry

import (
	"errors"
	"io/fs"
	"net/http"
	"os"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
)

var errBlobUnknown = &Error{http.StatusNotFound, "BLOB_UNKNOWN", "blob unknown to registry", nil}

// getBlob sends a blob, or the part of it that a Range header names (end-2).
func (reg *Registry) getBlob(w http.ResponseWriter, r request) error {
	d, err := parseDigest(r.object)
	if err != nil {
		return err
	}
	switch {
	case !r.repository.hasBlob(d):
		return errBlobUnknown
	case r.Method == http.MethodHead:
		// Who asks is about to rely on the answer: not now the collector.
		if err := r.repository.linkBlob(d); err != nil {
			return err
		}
	}
	f, err := reg.content.Open(d)
	if errdefs.IsNotFound(err) {
		return errBlobUnknown
	} else if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Docker-Content-Digest", d.String())
	h.Set("ETag", `"`+d.String()+`"`)
	h.Set("Cache-Control", "max-age=31536000, immutable") // a digest never means anything else
	if r.Method == http.MethodGet {
		chapter.Call(r.Context(), "a blob, from the file to the socket", "sendfile(%q, %q, NULL, %d)", r.RemoteAddr, f.Name(), info.Size())
	}
	http.ServeContent(w, r.Request, "", info.ModTime(), f)
	return nil
}

// deleteBlob takes a blob from the repository (end-10). That a manifest needs
// it does not keep it: the specification leaves that to who deletes.
func (reg *Registry) deleteBlob(w http.ResponseWriter, r request) error {
	d, err := parseDigest(r.object)
	if err != nil {
		return err
	}
	reg.refs.Lock()
	defer reg.refs.Unlock()
	err = os.Remove(r.repository.blobLink(d))
	if errors.Is(err, fs.ErrNotExist) {
		return errBlobUnknown
	} else if err != nil {
		return err
	}
	if err := reg.removeUnlinked(r.Context(), d); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// created answers that an object is here now.
func created(w http.ResponseWriter, location string, d digest.Digest) {
	w.Header().Set("Location", location)
	w.Header().Set("Docker-Content-Digest", d.String())
	w.WriteHeader(http.StatusCreated)
}
