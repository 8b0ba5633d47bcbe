//go:build linux

package overlayfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// Lower returns the directories for the lowerdir of a mount. diffIDs start
// with the base, as an image's config lists them; the directories are absolute
// and start with the top, as overlay wants them. A layer that is not there is
// [errdefs.ErrNotFound].
//
// An archive may name tmp/x and have no entry for tmp. The new layer must have
// a directory tmp nevertheless, and overlay shows the attributes of the topmost
// one: a /tmp with mode 1777 below would turn into 0755. Since a layer is
// unpacked without a look at those below it (they may be unpacked at the same
// moment, and another image may put it upon others), the mending is done for
// the stack: on top lies one more directory, DIR/chain-HEX/diff, that holds
// only such directories, with the attributes that the layers below gave them.
// HEX is the stack's chain ID. Most stacks need none.
func (s *Store) Lower(diffIDs []digest.Digest) ([]string, error) {
	stack := make([]string, 0, len(diffIDs)+1)
	implied := make(map[string]bool) // by full path
	var all []string
	for _, diffID := range slices.Backward(diffIDs) {
		layer, err := s.path(diffID)
		if err != nil {
			return nil, err
		}
		if !s.Has(diffID) {
			return nil, notFound(diffID)
		}
		paths, err := readImplied(layer)
		if err != nil {
			return nil, err
		}
		diff := filepath.Join(layer, "diff")
		stack = append(stack, diff)
		for _, p := range paths {
			implied[path.Join(diff, p)] = true
			all = append(all, p)
		}
	}
	if len(all) == 0 {
		return stack, nil
	}
	mended, err := s.mend(diffIDs, stack, implied, all)
	if err != nil {
		return nil, fmt.Errorf("attributes of directories that a layer implies: %w", err)
	}
	return append(mended, stack...), nil
}

// mend returns the directory that corrects the stack's implied directories, or
// none where nothing is to be corrected.
func (s *Store) mend(diffIDs []digest.Digest, stack []string, implied map[string]bool, all []string) ([]string, error) {
	chain := filepath.Join(s.dir, chainPrefix+ChainID(diffIDs).Encoded())
	diff := filepath.Join(chain, "diff")
	if _, err := os.Stat(diff); err == nil {
		return []string{diff}, nil
	}
	// From which directory the attributes are to be taken. Parents come along,
	// because they too will lie on top.
	from := make(map[string]string)
	for _, p := range all {
		dirs, shown, at := stack, make(map[string]string), "."
		for name := range strings.SplitSeq(p, "/") {
			at = path.Join(at, name)
			var err error
			if _, dirs, err = lookup(dirs, name); err != nil {
				return nil, err
			}
			i := slices.IndexFunc(dirs, func(dir string) bool { return !implied[dir] })
			if i < 0 && len(dirs) == 0 {
				break // hidden, or not a directory any more
			}
			shown[at] = dirs[max(i, 0)]
			if i > 0 {
				for k, v := range shown {
					from[k] = v
				}
			}
		}
	}
	if len(from) == 0 {
		return nil, nil
	}
	tmp, err := s.create()
	if err != nil {
		return nil, err
	}
	defer tmp.remove()
	// Longest first when attributes are set, so that times stay as set; for
	// making them, the other way round.
	paths := make([]string, 0, len(from))
	for p := range from {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	for _, p := range paths {
		if err := os.Mkdir(filepath.Join(tmp.path, "diff", p), 0o700); err != nil {
			return nil, err
		}
	}
	if err := copyDirectory(stack[0], filepath.Join(tmp.path, "diff")); err != nil {
		return nil, err
	}
	for _, p := range slices.Backward(paths) {
		if err := copyDirectory(from[p], filepath.Join(tmp.path, "diff", p)); err != nil {
			return nil, err
		}
	}
	var uses strings.Builder
	for _, d := range diffIDs {
		fmt.Fprintln(&uses, d)
	}
	if err := tmp.write("layers", uses.String()); err != nil {
		return nil, err
	}
	if err := s.commit(context.Background(), tmp, chain); err != nil {
		return nil, err
	}
	return []string{diff}, nil
}

// copyDirectory gives the directory to the attributes of the directory from.
func copyDirectory(from, to string) error {
	var st unix.Stat_t
	if err := unix.Lstat(from, &st); err != nil {
		return &os.PathError{Op: "lstat", Path: from, Err: err}
	}
	attrs, err := xattrs(from)
	if err != nil {
		return err
	}
	if err := os.Lchown(to, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	for name, value := range attrs {
		if isOverlayXattr(name) {
			continue
		}
		if err := unix.Lsetxattr(to, name, []byte(value), 0); err != nil {
			return &os.PathError{Op: "setxattr " + name, Path: to, Err: err}
		}
	}
	if err := unix.Chmod(to, st.Mode&0o7777); err != nil {
		return &os.PathError{Op: "chmod", Path: to, Err: err}
	}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, to, []unix.Timespec{st.Atim, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "utimensat", Path: to, Err: err}
	}
	return nil
}

// impliedFile lists a layer's implied directories, one quoted path a line.
const impliedFile = "implied"

// writeImplied notes the directories that the archive has implied, if any.
func writeImplied(t *temp, implied []string) error {
	if len(implied) == 0 {
		return nil
	}
	var b strings.Builder
	for _, p := range implied {
		fmt.Fprintln(&b, strconv.Quote(p))
	}
	return t.write(impliedFile, b.String())
}

func readImplied(layer string) ([]string, error) {
	b, err := os.ReadFile(filepath.Join(layer, impliedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var paths []string
	for line := range strings.Lines(string(b)) {
		p, err := strconv.Unquote(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, fmt.Errorf("%s: %q: %w", filepath.Join(layer, impliedFile), line, err)
		}
		paths = append(paths, p)
	}
	return paths, nil
}

// chainsWith returns the directories of the stacks that were mended and hold
// the layer diffID.
func (s *Store) chainsWith(diffID digest.Digest) ([]string, error) {
	all, err := filepath.Glob(filepath.Join(s.dir, chainPrefix+"*"))
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(chain string) bool {
		uses, err := os.ReadFile(filepath.Join(chain, "layers"))
		return err == nil && !slices.Contains(strings.Fields(string(uses)), diffID.String())
	}), nil
}
