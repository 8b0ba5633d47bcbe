//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/distribution/reference"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/api/types/storage"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.etcd.io/bbolt"

	images "drydock.example/06-images"
)

// Progress is one step of a pull, in Docker's words.
type Progress = images.Progress

// Builtin is an image that comes with the engine.
type Builtin struct {
	Name   string        // as in "hello" or "box:latest"
	Config ocispec.Image // RootFS is filled in from Layer
	Layer  func() (io.ReadCloser, error)
}

// Filters are the list calls' filters as they come over the API: name → set of values.
type Filters map[string]map[string]bool

// ImageListOptions choose what [Engine.ImageList] returns.
type ImageListOptions struct {
	All     bool // without effect: there are no intermediate images
	Filters Filters
}

// ImageList returns the images, newest first. Filters: reference, dangling, label, before, since.
func (e *Engine) ImageList(ctx context.Context, opt ImageListOptions) ([]image.Summary, error) {
	all, err := e.images.List()
	if err != nil {
		return nil, err
	}
	keep, err := e.imageFilter(opt.Filters)
	if err != nil {
		return nil, err
	}
	inUse := map[string]int64{}
	for _, c := range e.all() {
		rec, _, _ := c.snapshot()
		inUse[rec.Image.String()]++
	}
	list := make([]image.Summary, 0, len(all))
	for _, img := range all {
		if !keep(&img) {
			continue
		}
		labels := img.Config.Config.Labels
		if labels == nil {
			labels = map[string]string{}
		}
		list = append(list, image.Summary{
			ID:          img.ID.String(),
			RepoTags:    familiar(img.Tags),
			RepoDigests: familiar(img.Digests),
			Created:     img.Created.Unix(),
			Size:        img.Size,
			SharedSize:  -1,
			Containers:  inUse[img.ID.String()],
			Labels:      labels,
		})
	}
	return list, nil
}

func (e *Engine) imageFilter(filters Filters) (func(*images.Image) bool, error) {
	var tests []func(*images.Image) bool
	for key, values := range filters {
		var any []func(*images.Image) bool
		for value := range values {
			switch key {
			case "reference":
				any = append(any, func(img *images.Image) bool {
					return slices.ContainsFunc(slices.Concat(img.Tags, img.Digests), func(name string) bool { return matchReference(value, name) })
				})
			case "dangling":
				if value != "true" && value != "1" && value != "false" && value != "0" {
					return nil, invalid("invalid filter 'dangling=[%s]'", value)
				}
				want := value == "true" || value == "1"
				any = append(any, func(img *images.Image) bool { return len(img.Tags) == 0 == want })
			case "label":
				tests = append(tests, func(img *images.Image) bool { return hasLabel(img.Config.Config.Labels, value) })
			case "before", "since":
				mark, err := e.images.Get(value)
				if err != nil {
					return nil, err
				}
				any = append(any, func(img *images.Image) bool {
					if key == "before" {
						return img.Created.Before(mark.Created)
					}
					return img.Created.After(mark.Created)
				})
			default:
				return nil, invalid("invalid filter '%s'", key)
			}
		}
		if len(any) > 0 {
			tests = append(tests, func(img *images.Image) bool {
				return slices.ContainsFunc(any, func(test func(*images.Image) bool) bool { return test(img) })
			})
		}
	}
	return func(img *images.Image) bool {
		return !slices.ContainsFunc(tests, func(test func(*images.Image) bool) bool { return !test(img) })
	}, nil
}

// familiar returns names in the form that people use.
func familiar(names []string) []string {
	short := make([]string, 0, len(names))
	for _, name := range names {
		if ref, err := images.ParseReference(name); err == nil {
			short = append(short, images.Familiar(ref))
		}
	}
	return short
}

// credentials are what a client sends along: they are used for one call, and
// kept nowhere.
func credentials(auth registry.AuthConfig) images.Credentials {
	return images.Credentials{
		Username:      auth.Username,
		Password:      auth.Password,
		IdentityToken: auth.IdentityToken,
		RegistryToken: auth.RegistryToken,
	}
}

// RegistryLogin asks the registry at auth.ServerAddress whether it takes what
// is in auth. The client keeps it, and sends it with each pull.
func (e *Engine) RegistryLogin(ctx context.Context, auth registry.AuthConfig) error {
	address := auth.ServerAddress
	if _, after, ok := strings.Cut(address, "://"); ok {
		address = after
	}
	domain, _, _ := strings.Cut(address, "/")
	if domain == "" || domain == "index.docker.io" { // Docker Hub's address of 2013
		domain = "docker.io"
	}
	return images.Login(ctx, domain, images.ConnectOptions{Credentials: credentials(auth), Registries: e.opt.Registries})
}

// ImagePull brings an image here. platform is "" for this machine's, or as in "linux/arm64"; auth
// says as whom. progress is called one call at a time.
func (e *Engine) ImagePull(ctx context.Context, ref, platform string, auth registry.AuthConfig, progress func(Progress)) error {
	opt := images.PullOptions{Credentials: credentials(auth), Registries: e.opt.Registries}
	if platform != "" {
		p, err := images.ParsePlatform(platform)
		if err != nil {
			return err
		}
		opt.Platform = &p
	}
	if progress != nil {
		var one sync.Mutex
		opt.Progress = func(p Progress) {
			one.Lock()
			defer one.Unlock()
			progress(p)
		}
	}
	_, err := e.images.Pull(ctx, ref, opt)
	return err
}

// ImageInspect returns all that is known of an image.
func (e *Engine) ImageInspect(ctx context.Context, name string) (image.InspectResponse, error) {
	img, err := e.images.Get(name)
	if err != nil {
		return image.InspectResponse{}, err
	}
	of := img.Config
	r := image.InspectResponse{
		ID:           img.ID.String(),
		RepoTags:     familiar(img.Tags),
		RepoDigests:  familiar(img.Digests),
		Author:       of.Author,
		Config:       &dockerspec.DockerOCIImageConfig{ImageConfig: of.Config},
		Architecture: of.Architecture,
		Variant:      of.Variant,
		Os:           of.OS,
		OsVersion:    of.OSVersion,
		Size:         img.Size,
		GraphDriver:  &storage.DriverData{Name: storageDriver, Data: map[string]string{}},
		RootFS:       image.RootFS{Type: "layers"},
	}
	if !img.Created.IsZero() {
		r.Created = img.Created.Format(time.RFC3339Nano)
	}
	if n := len(of.History); n > 0 {
		r.Comment = of.History[n-1].Comment
	}
	for _, d := range img.DiffIDs {
		r.RootFS.Layers = append(r.RootFS.Layers, d.String())
	}
	return r, nil
}

// ImageRemove takes a name away, and the image when that was its last one. An image that a
// container uses is a Conflict; with force, one that no running container uses is removed, and its
// layers stay until the container goes.
func (e *Engine) ImageRemove(ctx context.Context, name string, force bool) ([]image.DeleteResponse, error) {
	e.imageUse.Lock()
	defer e.imageUse.Unlock()
	img, err := e.images.Get(name)
	if err != nil {
		return nil, err
	}
	byName := false
	if ref, err := images.ParseReference(name); err == nil {
		byName = slices.Contains(slices.Concat(img.Tags, img.Digests), ref.String())
	}
	if !byName || len(img.Tags) <= 1 {
		if err := e.imageInUse(name, &img, byName, force); err != nil {
			return nil, err
		}
	}
	untagged, deleted, err := e.images.Remove(ctx, name, force)
	response := make([]image.DeleteResponse, 0, len(untagged)+len(deleted))
	for _, name := range familiar(untagged) {
		response = append(response, image.DeleteResponse{Untagged: name})
	}
	for _, d := range deleted {
		response = append(response, image.DeleteResponse{Deleted: d.String()})
	}
	return response, err
}

// imageInUse refuses the removal of an image that a container needs.
func (e *Engine) imageInUse(name string, img *images.Image, byName, force bool) error {
	short := func(id string) string { return strings.TrimPrefix(id, "sha256:")[:12] }
	for _, c := range e.all() {
		rec, _, _ := c.snapshot()
		switch {
		case rec.Image != img.ID:
		case rec.State.running():
			return conflict("conflict: unable to delete %s (cannot be forced) - image is being used by running container %s", short(img.ID.String()), short(rec.ID))
		case force:
		case byName:
			return conflict("conflict: unable to remove repository reference %q (must force) - container %s is using its referenced image %s", name, short(rec.ID), short(img.ID.String()))
		default:
			return conflict("conflict: unable to delete %s (must be forced) - image is being used by stopped container %s", short(img.ID.String()), short(rec.ID))
		}
	}
	return nil
}

// installBuiltin installs the images that come with the engine, each once in a store's life: one
// that its owner removed does not come back.
func (e *Engine) installBuiltin(ctx context.Context) error {
	errs := make([]error, len(e.opt.Builtin))
	var installs sync.WaitGroup
	for i, b := range e.opt.Builtin {
		installs.Go(func() {
			if err := e.installOne(ctx, b); err != nil {
				errs[i] = fmt.Errorf("install image %s: %w", b.Name, err)
			}
		})
	}
	installs.Wait()
	return errors.Join(errs...)
}

func (e *Engine) installOne(ctx context.Context, b Builtin) error {
	key := []byte("builtin " + b.Name)
	installed := false
	err := e.db.View(func(tx *bbolt.Tx) error {
		installed = tx.Bucket(engineBucket).Get(key) != nil
		return nil
	})
	if err != nil || installed {
		return err
	}
	layer, err := b.Layer()
	if err != nil {
		return err
	}
	defer layer.Close()
	img, err := e.images.Create(ctx, b.Name, b.Config, layer)
	if err != nil {
		return err
	}
	return e.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(engineBucket).Put(key, []byte(img.ID)) })
}

// matchReference tells whether a name in normal form matches a pattern such as "debian:*".
func matchReference(pattern, name string) bool {
	ref, err := images.ParseReference(name)
	if err != nil {
		return false
	}
	match, err := reference.FamiliarMatch(pattern, ref)
	return err == nil && match
}
