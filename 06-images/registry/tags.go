//go:build linux

package registry

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// listTags answers with the repository's tags in the order of their bytes, one
// of the two that the specification allows: at most n of them, after the tag last. Where some are left, a Link header says how to go on (end-8).
func (reg *Registry) listTags(w http.ResponseWriter, r request) error {
	if _, err := os.Stat(filepath.Join(r.repository.dir, "_manifests")); err != nil {
		return &Error{http.StatusNotFound, "NAME_UNKNOWN", "repository name not known to registry", r.repository.name}
	}
	tags, err := r.repository.tags()
	if err != nil {
		return err
	}
	query := r.URL.Query()
	if last := query.Get("last"); last != "" {
		i, found := slices.BinarySearch(tags, last) // also where that tag is gone by now
		if found {
			i++
		}
		tags = tags[i:]
	}
	if s := query.Get("n"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 {
			return &Error{http.StatusBadRequest, "UNSUPPORTED", "n is the number of tags wanted", s}
		}
		if n < len(tags) {
			tags = tags[:n]
			if n > 0 {
				next := url.Values{"n": {s}, "last": {tags[n-1]}}
				w.Header().Set("Link", fmt.Sprintf(`</v2/%s/tags/list?%s>; rel="next"`, r.repository.name, next.Encode()))
			}
		}
	}
	return writeJSON(w, "application/json", map[string]any{"name": r.repository.name, "tags": tags})
}
