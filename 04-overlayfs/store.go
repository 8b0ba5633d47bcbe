//go:build linux

package overlayfs

import (
	"context"
	_ "crypto/sha256" // go-digest knows the algorithms that a program has linked
	_ "crypto/sha512"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// Store keeps unpacked layers, each once, whoever uses it:
//
//	DIR/HEX/diff        the layer's directory, ready to be a lowerdir
//	DIR/HEX/size        the sum of its regular files' sizes, in bytes
//	DIR/HEX/implied     the directories that it has only because of what is in them
//	DIR/chain-HEX/      see [Store.Lower]
//	DIR/tmp-*           a layer that is being made, or removed
//
// HEX is the layer's diff ID, the digest of its uncompressed archive. A layer
// has its final name when its last byte is on the disk, so whatever is found
// under such a name is whole. The methods may be called from several
// goroutines, and two processes may share a directory.
type Store struct {
	dir string

	mu     sync.Mutex
	making map[digest.Digest]chan struct{} // closed when that layer is done, well or not
	sync   syncer
}

// Names in the store's directory.
const (
	temporary   = "tmp-"
	chainPrefix = "chain-"
)

// OpenStore opens the store in dir, which it makes where there is none, with
// mode 0700: layers hold set-user-ID programs and device nodes, which no user
// of the host may reach. It removes what a killed process has left half done.
func OpenStore(dir string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := spread(dir); err != nil {
		return nil, err
	}
	s := &Store{dir: dir, making: make(map[digest.Digest]chan struct{})}
	leftovers, err := filepath.Glob(filepath.Join(dir, temporary+"*"))
	if err != nil {
		return nil, err
	}
	for _, path := range leftovers {
		if err := removeLeftover(path); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// topDir is FS_TOPDIR_FL, chattr's T.
const topDir = 0x20000

// spread tells ext4 that the directories in dir have nothing to do with each
// other. It looks for inodes near the parent directory otherwise, and walks, one
// by one, around those that were freed there in the last minutes: after an image
// has been removed, a new one would take several times as long. Other file
// systems do not know the flag.
//
// Source: ioctl_iflags(2); Documentation/filesystems/ext4, "Orlov".
func spread(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err == nil && flags&topDir == 0 {
		_ = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags|topDir)
	}
	return nil
}

// removeLeftover removes the temporary directory path, unless the process that
// makes it is alive and so holds its lock.
func removeLeftover(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil
	}
	return os.RemoveAll(path)
}

// path returns the directory of the layer diffID.
func (s *Store) path(diffID digest.Digest) (string, error) {
	if err := diffID.Validate(); err != nil {
		return "", fmt.Errorf("diff ID %q: %w: %w", diffID, err, errdefs.ErrInvalidArgument)
	}
	return filepath.Join(s.dir, diffID.Encoded()), nil
}

// Apply unpacks a layer, an uncompressed tar stream, and returns its size: the
// sum of its regular files' sizes, in bytes. Layers do not depend on each
// other, so those of one image can be applied at the same time.
//
// The stream is read to its end and must have the digest diffID; "" takes it
// as it comes (see [Store.Import]). A layer that is there already, or that
// another call is just making, is not made twice, and then the stream is not
// read. After an error, of whatever kind, nothing of the layer remains.
func (s *Store) Apply(ctx context.Context, diffID digest.Digest, tar io.Reader) (size int64, err error) {
	if diffID == "" {
		_, size, err = s.Import(ctx, tar)
		return size, err
	}
	if _, err := s.path(diffID); err != nil {
		return 0, err
	}
	for !s.Has(diffID) {
		s.mu.Lock()
		busy := s.making[diffID]
		if busy == nil {
			busy = make(chan struct{})
			s.making[diffID] = busy
			s.mu.Unlock()
			_, size, err := s.add(ctx, diffID, tar)
			s.mu.Lock()
			delete(s.making, diffID)
			s.mu.Unlock()
			close(busy)
			return size, err
		}
		s.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
	return s.Size(diffID)
}

// Import unpacks a layer whose diff ID is not known and returns it, with the
// layer's size in bytes. It is otherwise as [Store.Apply].
func (s *Store) Import(ctx context.Context, tar io.Reader) (digest.Digest, int64, error) {
	return s.add(ctx, "", tar)
}

// add unpacks a layer under a temporary name and gives it its name when it is
// complete, has the digest want ("": any) and is on the disk.
func (s *Store) add(ctx context.Context, want digest.Digest, tar io.Reader) (diffID digest.Digest, size int64, err error) {
	defer func() {
		if err != nil && want != "" {
			err = fmt.Errorf("layer %s: %w", want, err)
		} else if err != nil {
			err = fmt.Errorf("layer: %w", err)
		}
	}()
	tmp, err := s.create()
	if err != nil {
		return "", 0, err
	}
	defer func() { err = errors.Join(err, tmp.remove()) }()

	algorithm := digest.Canonical
	if want != "" {
		algorithm = want.Algorithm()
	}
	diff := filepath.Join(tmp.path, "diff")
	chapter.Call(ctx, "a layer is a directory; the archive is unpacked into it, never outside",
		"openat(AT_FDCWD, %q, O_PATH|O_DIRECTORY|O_CLOEXEC)", diff)
	stream := newStream(tar, algorithm.Digester())
	size, implied, err := unpack(ctx, diff, stream, Owners{})
	if err == nil {
		// The digest covers what stands after the archive's end as well.
		_, err = io.Copy(io.Discard, stream)
	}
	stream.Close()
	if err != nil {
		return "", 0, err
	}
	diffID = stream.Digest()
	if want != "" && diffID != want {
		return "", 0, fmt.Errorf("the archive has the digest %s: %w", diffID, errdefs.ErrInvalidArgument)
	}
	if err := tmp.write("size", strconv.FormatInt(size, 10)); err != nil {
		return "", 0, err
	}
	if err := writeImplied(tmp, implied); err != nil {
		return "", 0, err
	}
	final, err := s.path(diffID)
	if err != nil {
		return "", 0, err
	}
	return diffID, size, s.commit(ctx, tmp, final)
}

// temp is a directory of the store that is being made. Its lock says that its
// maker lives.
type temp struct {
	path string
	lock *os.File
}

// create makes a temporary directory with an empty diff in it.
func (s *Store) create() (*temp, error) {
	path, err := os.MkdirTemp(s.dir, temporary)
	if err != nil {
		return nil, err
	}
	t := &temp{path: path}
	if t.lock, err = os.Open(path); err == nil {
		err = unix.Flock(int(t.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	diff := filepath.Join(path, "diff")
	if err == nil {
		err = os.Mkdir(diff, 0o755)
	}
	if err == nil {
		err = os.Chmod(diff, 0o755) // whatever the umask: it may become the root of a container
	}
	if err != nil {
		return nil, errors.Join(err, t.remove())
	}
	return t, nil
}

func (t *temp) write(name, content string) error {
	return os.WriteFile(filepath.Join(t.path, name), []byte(content), 0o600)
}

// remove removes what has not been committed.
func (t *temp) remove() error {
	defer t.lock.Close()
	return os.RemoveAll(t.path)
}

// commit writes t to the disk and gives it the name final. If another process
// was faster, its directory stays.
func (s *Store) commit(ctx context.Context, t *temp, final string) error {
	chapter.Call(ctx, "every file of the layer to the disk, at once", "syncfs(%q)", t.path)
	if err := s.sync.syncfs(int(t.lock.Fd())); err != nil {
		return &os.PathError{Op: "syncfs", Path: t.path, Err: err}
	}
	chapter.Call(ctx, "only now does the layer exist, whole", "renameat(AT_FDCWD, %q, AT_FDCWD, %q)", t.path, final)
	err := os.Rename(t.path, final)
	if errors.Is(err, fs.ErrExist) || errors.Is(err, unix.ENOTEMPTY) {
		return nil
	}
	if err != nil {
		return err
	}
	dir, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// Has says whether the layer is in the store.
func (s *Store) Has(diffID digest.Digest) bool {
	path, err := s.path(diffID)
	if err != nil {
		return false
	}
	_, err = os.Stat(path)
	return err == nil
}

// Size returns the sum of the sizes of a layer's regular files, in bytes, or
// [errdefs.ErrNotFound].
func (s *Store) Size(diffID digest.Digest) (int64, error) {
	path, err := s.path(diffID)
	if err != nil {
		return 0, err
	}
	b, err := os.ReadFile(filepath.Join(path, "size"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, notFound(diffID)
	}
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(string(b), 10, 64)
}

func notFound(diffID digest.Digest) error {
	return fmt.Errorf("layer %s is not in the store: %w", diffID, errdefs.ErrNotFound)
}

// Remove removes a layer, or returns [errdefs.ErrNotFound]. Whether a mount or
// an image still uses it, the caller knows: the kernel does not keep the files
// of a lowerdir from being removed, and a container above it would lose them.
func (s *Store) Remove(ctx context.Context, diffID digest.Digest) error {
	path, err := s.path(diffID)
	if err != nil {
		return err
	}
	if !s.Has(diffID) {
		return notFound(diffID)
	}
	chains, err := s.chainsWith(diffID)
	if err != nil {
		return err
	}
	for _, p := range append(chains, path) {
		if err := s.discard(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// discard removes the directory path in two steps, so that no one ever sees
// half of it under its name.
func (s *Store) discard(ctx context.Context, path string) error {
	doomed, err := os.MkdirTemp(s.dir, temporary)
	if err != nil {
		return err
	}
	to := filepath.Join(doomed, filepath.Base(path))
	chapter.Call(ctx, "gone at once; its files follow", "renameat(AT_FDCWD, %q, AT_FDCWD, %q)", path, to)
	if err := os.Rename(path, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, os.Remove(doomed))
	}
	return os.RemoveAll(doomed)
}

// List returns the diff IDs of all layers, in no particular order.
func (s *Store) List() ([]digest.Digest, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	var diffIDs []digest.Digest
	for _, e := range entries {
		for _, algorithm := range []digest.Algorithm{digest.SHA256, digest.SHA384, digest.SHA512} {
			// Each algorithm has a length of its own.
			if !strings.Contains(e.Name(), "-") && algorithm.Validate(e.Name()) == nil {
				diffIDs = append(diffIDs, digest.NewDigestFromEncoded(algorithm, e.Name()))
			}
		}
	}
	return diffIDs, nil
}
