//go:build linux

package overlayfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// Marks of a [Picture]: what one layer has under one name.
const (
	markSeen     = '●' // this is what the merged view shows
	markMerged   = '○' // a directory whose names are shown, too
	markHidden   = '·' // hidden by a layer above
	markWhiteout = '×' // a whiteout: hides the layers below
)

// Picture draws a stack to w: a line for each name at or below the directory at
// ("/" is all of it), and a column for each of layers, directories with the
// topmost first, under its name in names. The base is the leftmost column.
//
// It reads the layers only, and mounts nothing.
func Picture(ctx context.Context, w io.Writer, names, layers []string, at string) error {
	p := &picture{ctx: ctx}
	dirs := make([]shownDir, len(layers))
	for i, layer := range layers {
		dirs[i] = shownDir{path: layer, shown: true}
	}
	for name := range strings.SplitSeq(strings.Trim(path.Clean("/"+at), "/"), "/") {
		if name == "" {
			continue
		}
		var err error
		if _, dirs, err = cells(dirs, name); err != nil {
			return err
		}
	}
	if !slices.ContainsFunc(dirs, func(d shownDir) bool { return d.shown }) {
		return &os.PathError{Op: "picture", Path: at, Err: unix.ENOTDIR}
	}
	if err := p.directory(dirs, path.Clean("/"+at)); err != nil {
		return err
	}
	return p.write(w, names)
}

// shownDir is what one layer has of a directory: path, "" if nothing, and
// whether its names are in the merged view.
type shownDir struct {
	path  string
	shown bool
}

type picture struct {
	ctx  context.Context
	rows []pictureRow
}

type pictureRow struct {
	path  string
	marks []rune // by layer, the topmost first
}

// directory adds the rows of what is in a directory that consists of dirs.
func (p *picture) directory(dirs []shownDir, at string) error {
	if p.ctx.Err() != nil {
		return context.Cause(p.ctx)
	}
	var names []string
	for _, dir := range dirs {
		if dir.path == "" {
			continue
		}
		entries, err := os.ReadDir(dir.path)
		if err != nil {
			return err
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		marks, below, err := cells(dirs, name)
		if err != nil {
			return err
		}
		full := path.Join(at, name)
		p.rows = append(p.rows, pictureRow{full, marks})
		if slices.ContainsFunc(below, func(d shownDir) bool { return d.shown }) {
			if err := p.directory(below, full); err != nil {
				return err
			}
		}
	}
	return nil
}

// cells returns what each layer has under name in the directory dirs, and, of a
// directory, of what it consists.
func cells(dirs []shownDir, name string) (marks []rune, below []shownDir, err error) {
	marks, below = make([]rune, len(dirs)), make([]shownDir, len(dirs))
	found, done := false, false
	for i, dir := range dirs {
		marks[i] = ' '
		if dir.path == "" {
			continue
		}
		at := filepath.Join(dir.path, name)
		var st unix.Stat_t
		err := unix.Lstat(at, &st)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return nil, nil, &os.PathError{Op: "lstat", Path: at, Err: err}
		}
		directory := st.Mode&unix.S_IFMT == unix.S_IFDIR
		if directory {
			below[i].path = at
		}
		switch {
		case isWhiteout(&st):
			marks[i], done = markWhiteout, true
		case done || !dir.shown || found && !directory:
			// A file below a directory ends the merge as well.
			marks[i], done = markHidden, true
		case found:
			marks[i], below[i].shown = markMerged, true
		default:
			marks[i], below[i].shown = markSeen, directory
			found, done = true, !directory
		}
		if below[i].shown && !done {
			if done, err = isOpaque(at); err != nil {
				return nil, nil, err
			}
		}
	}
	return marks, below, nil
}

// write draws the rows, the base's column first.
func (p *picture) write(w io.Writer, names []string) error {
	width := 0
	for _, row := range p.rows {
		width = max(width, utf8.RuneCountInString(row.path))
	}
	line := func(first string, cell func(i int) string) error {
		text := fmt.Sprintf("%-*s", width, first)
		for i := range slices.Backward(names) {
			text += "  " + cell(i)
		}
		_, err := fmt.Fprintln(w, strings.TrimRight(text, " "))
		return err
	}
	if err := line("", func(i int) string { return names[i] }); err != nil {
		return err
	}
	for _, row := range p.rows {
		err := line(row.path, func(i int) string { return fmt.Sprintf("%-*c", utf8.RuneCountInString(names[i]), row.marks[i]) })
		if err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "%c seen  %c merged with it  %c hidden  %c whiteout\n", markSeen, markMerged, markHidden, markWhiteout)
	return err
}
