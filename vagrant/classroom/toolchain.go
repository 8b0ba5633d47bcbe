package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// toolchains fills dir with the Go distribution of go.work for each platform,
// as goVERSION.OS-ARCH.tar.gz, or .zip for Windows. They come as modules (see
// https://go.dev/ref/mod#versions, golang.org/toolchain), whose sums the go
// command checks.
func toolchains(ctx context.Context, root, dir string, platforms []string) error {
	work, err := os.ReadFile(filepath.Join(root, "go.work"))
	if err != nil {
		return err
	}
	line := regexp.MustCompile(`(?m)^go (\S+)`).FindSubmatch(work)
	if line == nil {
		return errors.New(`go.work names no Go version: want a line as in "go 1.26.0"`)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, platform := range platforms {
		goos, arch, ok := strings.Cut(platform, "/")
		if !ok {
			return fmt.Errorf("platform %q: want OS/ARCH, as in linux/amd64", platform)
		}
		name := fmt.Sprintf("go%s.%s-%s", line[1], goos, arch)
		if goos == "windows" {
			name += ".zip"
		} else {
			name += ".tar.gz"
		}
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			continue
		}
		var module struct{ Dir, Error string }
		out, err := run(ctx, root, nil, "go", "mod", "download", "-json", fmt.Sprintf("golang.org/toolchain@v0.0.1-go%s.%s-%s", line[1], goos, arch))
		if jerr := json.Unmarshal(out, &module); jerr != nil || module.Error != "" {
			return errors.Join(fmt.Errorf("Go for %s: %s; leave it out with -platforms", platform, module.Error), err)
		}
		fmt.Println("  ", name)
		if err := whole(filepath.Join(dir, name), func(w io.Writer) error { return pack(w, module.Dir, goos == "windows") }); err != nil {
			return err
		}
	}
	return nil
}

// whole writes a file that is complete or absent.
func whole(file string, write func(io.Writer) error) error {
	tmp, err := os.Create(file + ".tmp")
	if err != nil {
		return err
	}
	if err := errors.Join(write(tmp), tmp.Sync(), tmp.Close()); err != nil {
		os.Remove(tmp.Name())
		return err
	}
	return os.Rename(tmp.Name(), file)
}

// pack writes the tree of dir below the name go/, with the names and modes that
// the distribution has: a module's archive has no modes, and no file in it may
// be called go.mod.
func pack(w io.Writer, dir string, zipped bool) (err error) {
	var add func(name string, mode fs.FileMode, size int64) (io.Writer, error)
	if zipped {
		z := zip.NewWriter(w)
		defer func() { err = errors.Join(err, z.Close()) }()
		add = func(name string, _ fs.FileMode, _ int64) (io.Writer, error) { return z.Create(name) }
	} else {
		g := gzip.NewWriter(w)
		t := tar.NewWriter(g)
		defer func() { err = errors.Join(err, t.Close(), g.Close()) }()
		add = func(name string, mode fs.FileMode, size int64) (io.Writer, error) {
			return t, t.WriteHeader(&tar.Header{Name: name, Mode: int64(mode), Size: size})
		}
	}
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, mode := filepath.ToSlash(rel), fs.FileMode(0o644)
		switch {
		case name == "src/_go.mod" || name == "src/cmd/_go.mod":
			name = strings.Replace(name, "_go.mod", "go.mod", 1)
		case strings.HasPrefix(name, "bin/") || strings.HasPrefix(name, "pkg/tool/"):
			mode = 0o755
		}
		to, err := add("go/"+name, mode, info.Size())
		if err != nil {
			return err
		}
		from, err := os.Open(path)
		if err != nil {
			return err
		}
		defer from.Close()
		_, err = io.Copy(to, from)
		return err
	})
}
