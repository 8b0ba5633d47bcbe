//go:build linux

package engine

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ContainerCreate makes a container of an image, ready to be started. An empty name becomes a
// random one. Errors: InvalidArgument for what makes no sense or is not supported, NotFound for
// the image, Conflict for the name.
func (e *Engine) ContainerCreate(ctx context.Context, name string, req container.CreateRequest) (container.CreateResponse, error) {
	none := container.CreateResponse{}
	if req.Config == nil {
		return none, invalid("Config cannot be empty in order to create a container")
	}
	if req.HostConfig == nil {
		req.HostConfig = &container.HostConfig{}
	}
	if err := refuse(req); err != nil {
		return none, err
	}
	if err := checkLimits(req.HostConfig); err != nil {
		return none, err
	}
	if _, err := binds(req.HostConfig); err != nil {
		return none, err
	}
	if err := checkSecurity(req.HostConfig); err != nil {
		return none, err
	}
	if req.Config.StopSignal != "" {
		if _, err := parseSignal(req.Config.StopSignal); err != nil {
			return none, err
		}
	}
	if err := checkNetwork(req.HostConfig); err != nil {
		return none, err
	}
	if err := e.checkInit(ctx, req.HostConfig); err != nil {
		return none, err
	}

	// No image goes away between here and the moment the container is known to use it.
	e.imageUse.RLock()
	defer e.imageUse.RUnlock()
	img, err := e.images.Get(req.Config.Image)
	if err != nil {
		return none, err
	}

	id := newID()
	config, host := *req.Config, *req.HostConfig
	warnings := append(defaults(&host), merge(&config, &img.Config)...)
	rec := record{
		ID: id, Created: time.Now().UTC(), Image: img.ID, Manifest: img.Manifest, Layers: img.DiffIDs,
		Config: &config, HostConfig: &host,
		State: state{Status: container.StateCreated},
	}
	if rec.Path, rec.Args, err = command(&config); err != nil {
		return none, err
	}
	if config.WorkingDir != "" && !path.IsAbs(config.WorkingDir) {
		return none, invalid("the working directory '%s' is invalid, it needs to be an absolute path", config.WorkingDir)
	}
	if config.Hostname == "" {
		config.Hostname = id[:12]
		if host.NetworkMode.IsHost() {
			if config.Hostname, err = os.Hostname(); err != nil {
				return none, err
			}
		}
	}
	if rec.Name, err = e.reserveName(id, name); err != nil {
		return none, err
	}
	c := newContainer(e, rec)
	if err := e.add(c); err != nil {
		c.release()
		e.releaseName(id, rec.Name)
		return none, err
	}
	return container.CreateResponse{ID: id, Warnings: warnings}, nil
}

// add makes the container's directory and then its record: a directory without a record is a
// creation that did not finish, and goes at the next start of the engine.
func (e *Engine) add(c *Container) error {
	if err := os.Mkdir(c.dir(), 0o700); err != nil {
		return err
	}
	err := c.makeDirs()
	if err == nil {
		err = e.save(&c.rec)
	}
	if err != nil {
		os.RemoveAll(c.dir())
		return fmt.Errorf("create container %s: %w", c.id, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.containers[c.id] = c
	return nil
}

// makeDirs makes the directories of the container's writable layer.
func (c *Container) makeDirs() error {
	for _, name := range []string{"upper", "work"} {
		if err := os.Mkdir(c.dir(name), 0o755); err != nil && !os.IsExist(err) {
			return err
		}
	}
	return nil
}

func newID() string {
	var b [32]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// merge completes a container's config by its image's, the way docker run does: what the
// container says comes first. It returns what the image asks for and will not get.
func merge(c *container.Config, img *ocispec.Image) []string {
	of := img.Config
	if c.User == "" {
		c.User = of.User
	}
	if c.WorkingDir == "" {
		c.WorkingDir = of.WorkingDir
	}
	if c.StopSignal == "" {
		c.StopSignal = of.StopSignal
	}
	// An entrypoint of its own does not get the image's arguments.
	if len(c.Entrypoint) == 0 {
		if len(c.Cmd) == 0 {
			c.Cmd = of.Cmd
		}
		if c.Entrypoint == nil {
			c.Entrypoint = of.Entrypoint
		}
	}
	// --entrypoint "" arrives as one empty string: no entrypoint, also not the image's.
	if len(c.Entrypoint) == 1 && c.Entrypoint[0] == "" {
		c.Entrypoint = nil
	}

	c.Env = slices.Clone(c.Env)
	for _, env := range of.Env {
		key, _, _ := strings.Cut(env, "=")
		if !slices.ContainsFunc(c.Env, func(own string) bool { k, _, _ := strings.Cut(own, "="); return k == key }) {
			c.Env = append(c.Env, env)
		}
	}
	labels := maps.Clone(of.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, c.Labels)
	c.Labels = labels

	exposed := maps.Clone(c.ExposedPorts)
	for s := range of.ExposedPorts {
		r, err := network.ParsePortRange(s)
		if err != nil {
			continue // an image may say anything; a port that is none cannot be published anyway
		}
		for port := range r.All() {
			if exposed == nil {
				exposed = network.PortSet{}
			}
			exposed[port] = struct{}{}
		}
	}
	c.ExposedPorts = exposed

	var warnings []string
	for _, volume := range slices.Sorted(maps.Keys(of.Volumes)) {
		warnings = append(warnings, fmt.Sprintf("The image declares a volume at %s; what is written there goes to the container's own layer.", volume))
	}
	return warnings
}

// command is the program and its arguments: the entrypoint's, then the command's.
func command(c *container.Config) (string, []string, error) {
	all := slices.Concat(c.Entrypoint, c.Cmd)
	if len(all) == 0 {
		return "", nil, invalid("no command specified")
	}
	if all[0] == "" {
		return "", nil, invalid("no command specified: the program's name is empty")
	}
	return all[0], all[1:], nil
}
