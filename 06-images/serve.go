//go:build linux

package images

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	"go.etcd.io/bbolt"
)

// Handler serves the images of the store, for whoever pulls: the endpoints of
// the OCI distribution specification 1.1 that read (end-1, end-2, end-3). An
// image whose name has no registry, as demo:1, is there as demo:1; one that
// came from a registry is there under its path. Nobody is asked who they are.
func (s *Store) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, "{}")
	})
	mux.HandleFunc("GET /v2/{path...}", func(w http.ResponseWriter, r *http.Request) {
		// The repository's name has slashes itself, so the end is cut off.
		path := r.PathValue("path")
		if i := strings.LastIndex(path, "/manifests/"); i >= 0 {
			s.serveManifest(w, r, path[:i], path[i+len("/manifests/"):])
		} else if i := strings.LastIndex(path, "/blobs/"); i >= 0 {
			s.serveBlob(w, r, digest.Digest(path[i+len("/blobs/"):]))
		} else {
			refuse(w, http.StatusNotFound, "UNSUPPORTED", "this registry serves manifests and blobs")
		}
	})
	return mux
}

// serveManifest answers with the manifest that a tag or a digest names.
func (s *Store) serveManifest(w http.ResponseWriter, r *http.Request, repository, id string) {
	d := digest.Digest(id)
	if d.Validate() != nil {
		var err error
		if d, err = s.manifestOf(repository, id); err != nil {
			refuse(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "manifest unknown")
			return
		}
	}
	raw, err := s.content.Bytes(d)
	if err != nil {
		refuse(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "manifest unknown")
		return
	}
	doc, err := newDocument(raw, "")
	if err != nil { // a config or a layer was asked for as a manifest
		refuse(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "manifest unknown")
		return
	}
	w.Header().Set("Content-Type", doc.mediaType)
	w.Header().Set("Docker-Content-Digest", d.String())
	w.Header().Set("Content-Length", fmt.Sprint(len(raw)))
	if r.Method == http.MethodGet {
		w.Write(raw)
	}
}

// manifestOf returns the manifest of the image that has the tag in a
// repository, whichever registry's.
func (s *Store) manifestOf(repository, tag string) (manifest digest.Digest, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketNames).ForEach(func(name, id []byte) error {
			ref, err := ParseReference(string(name))
			if err != nil {
				return err
			}
			path := reference.Path(ref)
			if identifier(ref) != tag || path != repository && path != "library/"+repository {
				return nil
			}
			record, err := loadRecord(tx, digest.Digest(id))
			manifest = record.Manifest
			return err
		})
	})
	if err == nil && manifest == "" {
		err = errorf(errdefs.ErrNotFound, "no image %s:%s", repository, tag)
	}
	return manifest, err
}

// serveBlob sends a blob, or the part of it that a Range header names.
func (s *Store) serveBlob(w http.ResponseWriter, r *http.Request, d digest.Digest) {
	f, err := s.content.Open(d)
	if err != nil {
		refuse(w, http.StatusNotFound, "BLOB_UNKNOWN", "blob unknown to registry")
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		refuse(w, http.StatusInternalServerError, "UNKNOWN", err.Error())
		return
	}
	chapter.Call(r.Context(), "a blob, from the file to the socket", "sendfile(%q, %q, NULL, %d)", r.RemoteAddr, f.Name(), info.Size())
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Docker-Content-Digest", d.String())
	http.ServeContent(w, r, "", info.ModTime(), f)
}

// refuse answers with an error of the distribution specification.
func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"errors": []map[string]string{{"code": code, "message": message}}})
}
