package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
)

// modules fills dir with the modules of the workspace and of each chapter alone,
// in the layout that a GOPROXY has. The go command does the work and checks the
// sums: what it downloads into a module cache of its own is such a layout.
func modules(ctx context.Context, root, dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	tmp := dir + ".tmp"
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	usual, err := run(ctx, root, nil, "go", "env", "GOMODCACHE", "GOPROXY")
	if err != nil {
		return err
	}
	cache, proxy, _ := strings.Cut(strings.TrimSpace(string(usual)), "\n")
	env := []string{
		"GOMODCACHE=" + tmp, "GOFLAGS=-modcacherw", "GOTOOLCHAIN=local",
		"GOPROXY=" + fileURL(filepath.Join(cache, "cache", "download")) + "," + proxy,
	}
	chapters, err := filepath.Glob(filepath.Join(root, "0*", "go.mod"))
	if err != nil {
		return err
	}
	// Loading the packages fetches what a build and its tests need, and no more.
	for _, goos := range []string{"linux", "darwin", "windows"} {
		for _, file := range chapters {
			for _, work := range []string{"", "off"} {
				if _, err := run(ctx, filepath.Dir(file), append(env, "GOOS="+goos, "GOWORK="+work), "go", "list", "-deps", "-test", "./..."); err != nil {
					return err
				}
			}
		}
	}
	if err := os.Rename(filepath.Join(tmp, "cache", "download"), dir); err != nil {
		return err
	}
	return os.RemoveAll(tmp)
}

// fileURL is the file:// URL of an absolute path, which begins with a drive's
// letter on Windows.
func fileURL(path string) string {
	return "file:///" + strings.TrimPrefix(filepath.ToSlash(path), "/")
}
