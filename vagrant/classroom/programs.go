package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// programs fills dir with the engine's programs for Linux, as `make build` makes
// them, from the tree at root, and dir/tree.sum with the sum of that tree: whoever
// has changed it builds them anew (see vagrant/provision.sh).
func programs(ctx context.Context, root, dir string, platforms []string) error {
	sum, err := treeSum(root)
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "tree.sum")
	if old, err := os.ReadFile(file); err == nil && string(old) == sum {
		return nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	for _, platform := range platforms {
		arch, ok := strings.CutPrefix(platform, "linux/")
		if !ok {
			continue
		}
		env := []string{"GOOS=linux", "GOARCH=" + arch, "CGO_ENABLED=0"}
		guests := filepath.Join(root, "07-runtime", "builtin", "bin")
		for _, target := range [][2]string{
			{guests, "./07-runtime/builtin/cmd/..."}, // the daemon carries them
			{filepath.Join(dir, "linux-"+arch), "./07-runtime/cmd/..."},
		} {
			if _, err := run(ctx, root, env, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", target[0]+string(filepath.Separator), target[1]); err != nil {
				return err
			}
		}
		for _, name := range []string{"hello", "box"} {
			if err := os.Remove(filepath.Join(guests, name)); err != nil {
				return err
			}
		}
	}
	return whole(file, func(w io.Writer) error {
		_, err := io.WriteString(w, sum)
		return err
	})
}

// treeSum is the sum over what the go command builds from: the lines that
// sha256sum prints for each such file, in the order of their bytes, summed again.
func treeSum(root string) (string, error) {
	var names []string
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && (filepath.Ext(name) == ".go" || d.Name() == "go.mod" || d.Name() == "go.sum") {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		return "", err
	}
	slices.Sort(names)
	sum := sha256.New()
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(sum, "%x  ./%s\n", sha256.Sum256(text), name)
	}
	return fmt.Sprintf("%x\n", sum.Sum(nil)), nil
}
