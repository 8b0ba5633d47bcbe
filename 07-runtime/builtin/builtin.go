package builtin

import (
	"archive/tar"
	"embed"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"slices"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// programs holds hello and box once they are built; the dot file is there so
// that the directory can be embedded before.
//
//go:embed all:bin
var programs embed.FS

// An Image is a file system of one layer, and the config to run it with.
type Image struct {
	Name   string // as in "hello"
	Config ocispec.Image
	files  []file
}

type file struct {
	tar.Header
	embedded string // the program in bin/ that is its content
	content  string
}

// epoch is the time of every file: the same program gives the same layer, to the byte.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Images returns the images whose programs this binary has.
func Images() []Image {
	var list []Image
	for _, img := range []Image{hello(), box()} {
		if _, err := fs.Stat(programs, "bin/"+img.Name); err == nil {
			list = append(list, img)
		}
	}
	return list
}

func hello() Image {
	return Image{
		Name:   "hello",
		Config: config([]string{"/hello"}, nil),
		files:  []file{program("hello", "hello")},
	}
}

func box() Image {
	files := []file{
		directory("bin", 0o755), directory("etc", 0o755), directory("root", 0o700), directory("tmp", 0o1777), directory("www", 0o755),
		program("bin/box", "box"),
		text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
		text("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
		text("www/index.html", "hello from a container\n"),
	}
	for _, name := range Applets {
		files = append(files, file{Header: tar.Header{Name: "bin/" + name, Typeflag: tar.TypeSymlink, Linkname: "box", Mode: 0o777}})
	}
	return Image{Name: "box", Config: config(nil, []string{"sh"}), files: files}
}

// Applets are the names under which the program box is found in /bin.
var Applets = slices.Sorted(slices.Values([]string{
	"sh", "base64", "cat", "chmod", "cp", "find", "gzip", "ls", "mkdir", "mktemp", "mv", "rm", "shasum", "tar", "touch", "xargs",
	"env", "false", "grep", "head", "hostname", "httpd", "id", "mount", "ps", "sleep", "true", "uname", "wc", "wget", "yes",
}))

func config(entrypoint, cmd []string) ocispec.Image {
	return ocispec.Image{
		Created:  &epoch,
		Author:   "Drydock",
		Platform: ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH},
		Config: ocispec.ImageConfig{
			Env:        []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
			Entrypoint: entrypoint,
			Cmd:        cmd,
			WorkingDir: "/",
		},
		History: []ocispec.History{{Created: &epoch, CreatedBy: "make build", Comment: "built into the engine"}},
	}
}

func directory(name string, mode int64) file {
	return file{Header: tar.Header{Name: name + "/", Typeflag: tar.TypeDir, Mode: mode}}
}

func program(name, embedded string) file {
	return file{Header: tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o755}, embedded: embedded}
}

func text(name, content string) file {
	return file{Header: tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}, content: content}
}

// Layer returns the image's layer as a tar stream. Whoever reads it closes it.
func (img Image) Layer() (io.ReadCloser, error) {
	r, w := io.Pipe()
	go func() { w.CloseWithError(img.write(w)) }()
	return r, nil
}

func (img Image) write(w io.Writer) error {
	archive := tar.NewWriter(w)
	for _, f := range img.files {
		content := []byte(f.content)
		if f.embedded != "" {
			var err error
			if content, err = programs.ReadFile("bin/" + f.embedded); err != nil {
				return fmt.Errorf("image %s: %w", img.Name, err)
			}
		}
		f.Size, f.ModTime = int64(len(content)), epoch
		if err := archive.WriteHeader(&f.Header); err != nil {
			return fmt.Errorf("image %s: %s: %w", img.Name, f.Name, err)
		}
		if _, err := archive.Write(content); err != nil {
			return err
		}
	}
	return archive.Close()
}
