//go:build linux

package registry

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

var (
	uploadID     = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	contentRange = regexp.MustCompile(`^([0-9]{1,18})-([0-9]{1,18})$`)

	errNoUpload   = &Error{http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry", nil}
	errTooLarge   = &Error{http.StatusRequestEntityTooLarge, "SIZE_INVALID", "the blob is larger than this registry takes", nil}
	errOutOfOrder = &Error{http.StatusRequestedRangeNotSatisfiable, "BLOB_UPLOAD_INVALID", "the chunk does not begin where the last one ended", nil}
)

// upload is a blob that arrives. What has arrived is the file, so that a
// restart loses nothing; the rest makes it fast.
type upload struct {
	id   string
	path string

	mu     sync.Mutex // held by the one request that adds bytes or ends the upload
	hash   hash.Hash  // sha256 of the first hashed bytes of the file
	hashed int64

	reading   sync.Mutex // guards interrupt
	interrupt func()     // ends the reading of the request that holds mu; nil: none reads
}

// take makes the request of w the one that adds bytes. Another that still does
// is interrupted: a client comes again when it has lost the connection that the
// other one waits for.
func (u *upload) take(w http.ResponseWriter) (release func()) {
	u.reading.Lock()
	if u.interrupt != nil {
		u.interrupt()
	}
	u.reading.Unlock()
	u.mu.Lock()
	u.setInterrupt(func() {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now()) // fails where the connection is gone already
	})
	return func() {
		u.setInterrupt(nil)
		u.mu.Unlock()
	}
}

func (u *upload) setInterrupt(f func()) {
	u.reading.Lock()
	defer u.reading.Unlock()
	u.interrupt = f
}

// size returns how many bytes have arrived.
func (u *upload) size() (int64, error) {
	info, err := os.Stat(u.path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, errNoUpload
	} else if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// newUUID returns a random UUID (RFC 9562, version 4), of which the
// specification wants one in the place of an upload.
func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// newUpload begins an upload.
func (reg *Registry) newUpload(r request) (*upload, error) {
	id := newUUID()
	path := filepath.Join(r.repository.dir, "_uploads", id)
	if err := reg.writeFile(path, nil); err != nil {
		return nil, err
	}
	u := &upload{id: id, path: path, hash: sha256.New()}
	reg.mu.Lock()
	defer reg.mu.Unlock()
	reg.uploads[path] = u
	return u, nil
}

// findUpload returns the upload that the request is about, which may have begun
// before this process.
func (reg *Registry) findUpload(r request) (*upload, error) {
	if !uploadID.MatchString(r.object) {
		return nil, errNoUpload
	}
	u := &upload{id: r.object, path: filepath.Join(r.repository.dir, "_uploads", r.object), hash: sha256.New()}
	if _, err := u.size(); err != nil {
		return nil, err
	}
	reg.mu.Lock()
	defer reg.mu.Unlock()
	if known := reg.uploads[u.path]; known != nil {
		return known, nil
	}
	reg.uploads[u.path] = u
	return u, nil
}

// dropUpload forgets an upload and what has arrived of it.
func (reg *Registry) dropUpload(u *upload) error {
	reg.mu.Lock()
	delete(reg.uploads, u.path)
	reg.mu.Unlock()
	if err := os.Remove(u.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// startUpload begins an upload, or spares it: by mount, where the registry has
// the blob, or by digest, where the blob is this request's body (end-4a, end-4b, end-11).
func (reg *Registry) startUpload(w http.ResponseWriter, r request) error {
	query := r.URL.Query()
	if query.Has("mount") {
		if mounted, err := reg.mount(w, r, query.Get("mount"), query.Get("from")); mounted || err != nil {
			return err
		}
	}
	if !query.Has("digest") {
		u, err := reg.newUpload(r)
		if err != nil {
			return err
		}
		return answerUpload(w, r, u, 0, http.StatusAccepted)
	}
	want, err := parseDigest(query.Get("digest"))
	if err != nil {
		return err
	}
	u, err := reg.newUpload(r)
	if err != nil {
		return err
	}
	defer u.take(w)()
	if _, err := reg.receive(r, u); err != nil {
		return errors.Join(err, reg.dropUpload(u)) // nobody knows its ID
	}
	return reg.commit(w, r, u, want)
}

// mount makes a blob of another repository one of this one's as well (end-11).
// Where from is silent, any repository will do: whoever may read one may read
// all. What cannot be mounted is uploaded, so it is no error.
func (reg *Registry) mount(w http.ResponseWriter, r request, mount, from string) (bool, error) {
	d, err := parseDigest(mount)
	if err != nil {
		return false, nil
	}
	reg.refs.RLock()
	defer reg.refs.RUnlock()
	has := reg.content.Has(d)
	if r.URL.Query().Has("from") {
		has = has && validName(from) && reg.repository(from).hasBlob(d)
	}
	if !has {
		return false, nil
	}
	if err := r.repository.linkBlob(d); err != nil {
		return false, err
	}
	created(w, "/v2/"+r.repository.name+"/blobs/"+d.String(), d)
	return true, nil
}

// uploadStatus says how much has arrived (end-13).
func (reg *Registry) uploadStatus(w http.ResponseWriter, r request) error {
	u, err := reg.findUpload(r)
	if err != nil {
		return err
	}
	size, err := u.size()
	if err != nil {
		return err
	}
	return answerUpload(w, r, u, size, http.StatusNoContent)
}

// appendUpload takes a chunk, or all in one stream (end-5).
func (reg *Registry) appendUpload(w http.ResponseWriter, r request) error {
	u, err := reg.findUpload(r)
	if err != nil {
		return err
	}
	defer u.take(w)()
	size, err := reg.receive(r, u)
	switch {
	case err == error(errOutOfOrder):
		setUpload(w, r, u, size) // where to go on
	case err == error(errTooLarge):
		return errors.Join(err, reg.dropUpload(u))
	}
	if err != nil {
		return err
	}
	return answerUpload(w, r, u, size, http.StatusAccepted)
}

// finishUpload takes the last chunk, if there is one, and makes the upload a
// blob, if its digest is as the client says (end-6).
func (reg *Registry) finishUpload(w http.ResponseWriter, r request) error {
	u, err := reg.findUpload(r)
	if err != nil {
		return err
	}
	want, err := parseDigest(r.URL.Query().Get("digest"))
	if err != nil {
		return err
	}
	defer u.take(w)()
	size, err := reg.receive(r, u)
	switch {
	case err == error(errOutOfOrder):
		setUpload(w, r, u, size)
	case err == error(errTooLarge):
		return errors.Join(err, reg.dropUpload(u))
	}
	if err != nil {
		return err
	}
	return reg.commit(w, r, u, want)
}

// cancelUpload gives an upload up (end-14).
func (reg *Registry) cancelUpload(w http.ResponseWriter, r request) error {
	u, err := reg.findUpload(r)
	if err != nil {
		return err
	}
	defer u.take(w)()
	if err := reg.dropUpload(u); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// receive appends the request's body to the upload, and returns how many bytes
// have arrived in all. When it returns they are on disk, also those before an
// error: a client goes on from there.
func (reg *Registry) receive(r request, u *upload) (size int64, err error) {
	f, err := os.OpenFile(u.path, os.O_WRONLY|os.O_APPEND, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, errNoUpload
	} else if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	size = info.Size()

	body := io.Reader(r.Body)
	if value := r.Header.Get("Content-Range"); value != "" {
		match := contentRange.FindStringSubmatch(value)
		if match == nil {
			return size, errOutOfOrder
		}
		start, _ := strconv.ParseInt(match[1], 10, 64) // 18 digits fit
		end, _ := strconv.ParseInt(match[2], 10, 64)
		if start != size || end < start {
			return size, errOutOfOrder
		}
		length := end - start + 1
		if r.ContentLength >= 0 && r.ContentLength != length {
			return size, &Error{http.StatusBadRequest, "SIZE_INVALID", "Content-Length and Content-Range do not fit", value}
		}
		body = io.LimitReader(body, length)
	}
	if reg.opt.MaxBlob > 0 {
		if size+max(r.ContentLength, 0) > reg.opt.MaxBlob {
			return size, errTooLarge
		}
		body = io.LimitReader(body, reg.opt.MaxBlob-size+1)
	}

	chapter.Call(r.Context(), "what arrives of a blob", "write(%q, …)", u.path)
	to := io.Writer(f)
	if size == u.hashed { // else a restart came between, and the digest is computed at the end
		to = &hashedFile{f, u}
	}
	n, err := io.CopyBuffer(to, onlyReader{body}, make([]byte, 256<<10))
	size += n
	if serr := f.Sync(); err == nil {
		err = serr
	}
	if err == nil && reg.opt.MaxBlob > 0 && size > reg.opt.MaxBlob {
		err = errTooLarge
	}
	return size, err
}

// onlyReader hides a faster way to copy that would not use our buffer.
type onlyReader struct{ io.Reader }

// hashedFile writes to the file of an upload, and to its hash what was written.
type hashedFile struct {
	file *os.File
	u    *upload
}

func (h *hashedFile) Write(p []byte) (int, error) {
	n, err := h.file.Write(p)
	h.u.hash.Write(p[:n])
	h.u.hashed += int64(n)
	return n, err
}

// digest computes the digest of what has arrived, unless that was done on the
// way.
func (u *upload) digest(algorithm digest.Algorithm) (digest.Digest, error) {
	size, err := u.size()
	if err != nil {
		return "", err
	}
	if algorithm == digest.SHA256 && size == u.hashed {
		return digest.NewDigest(algorithm, u.hash), nil
	}
	f, err := os.Open(u.path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return algorithm.FromReader(f)
}

// commit makes what has arrived a blob of the repository. An upload that is not
// what its digest says is given up.
func (reg *Registry) commit(w http.ResponseWriter, r request, u *upload, want digest.Digest) error {
	got, err := u.digest(want.Algorithm())
	if err != nil {
		return err
	}
	if got != want {
		err := &Error{http.StatusBadRequest, "DIGEST_INVALID", "provided digest did not match uploaded content",
			map[string]digest.Digest{"provided": want, "computed": got}}
		return errors.Join(err, reg.dropUpload(u))
	}
	reg.refs.RLock()
	defer reg.refs.RUnlock()
	chapter.Call(r.Context(), "all has arrived and is what its digest says: it gets its name", "rename(%q, %q)", u.path, want)
	if err := reg.content.Adopt(u.path, want); err != nil {
		return err
	}
	if err := r.repository.linkBlob(want); err != nil {
		return err
	}
	if err := reg.dropUpload(u); err != nil {
		return err
	}
	created(w, "/v2/"+r.repository.name+"/blobs/"+want.String(), want)
	return nil
}

// setUpload says where an upload is, and how much of it has arrived.
func setUpload(w http.ResponseWriter, r request, u *upload, size int64) {
	h := w.Header()
	h.Set("Location", "/v2/"+r.repository.name+"/blobs/uploads/"+u.id)
	h.Set("Docker-Upload-UUID", u.id)
	h.Set("Range", fmt.Sprintf("0-%d", max(size-1, 0))) // inclusive, so it cannot say "nothing"
}

func answerUpload(w http.ResponseWriter, r request, u *upload, size int64, status int) error {
	setUpload(w, r, u, size)
	w.WriteHeader(status)
	return nil
}
