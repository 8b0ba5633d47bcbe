//go:build linux

package engine

import (
	"context"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/storage"

	"drydock.example/07-runtime/shim"
)

// ContainerInspect returns all that is known of a container.
func (e *Engine) ContainerInspect(ctx context.Context, id string) (container.InspectResponse, error) {
	c, err := e.find(id)
	if err != nil {
		return container.InspectResponse{}, err
	}
	rec, pid, removing := c.snapshot()
	settings := &container.NetworkSettings{Ports: portMap(&rec), Networks: e.endpointSettings(&rec)}
	if rec.State.running() {
		settings.SandboxID = rec.ID
		settings.SandboxKey = c.bundle(shim.NetworkFile)
	}
	args := rec.Args
	if args == nil {
		args = []string{}
	}
	return container.InspectResponse{
		ID:      rec.ID,
		Created: rec.Created.Format(time.RFC3339Nano),
		Path:    rec.Path,
		Args:    args,
		State: &container.State{
			Status:     rec.status(removing),
			Running:    rec.State.running(),
			OOMKilled:  rec.State.OOMKilled,
			Pid:        pid,
			ExitCode:   rec.State.ExitCode,
			Error:      rec.State.Error,
			StartedAt:  rec.State.StartedAt.Format(time.RFC3339Nano),
			FinishedAt: rec.State.FinishedAt.Format(time.RFC3339Nano),
		},
		Image:          rec.Image.String(),
		ResolvConfPath: c.dir("resolv.conf"),
		HostnamePath:   c.dir("hostname"),
		HostsPath:      c.dir("hosts"),
		LogPath:        c.dir(logFile),
		Name:           "/" + rec.Name,
		Driver:         storageDriver,
		Platform:       "linux",
		HostConfig:     rec.HostConfig,
		GraphDriver: &storage.DriverData{Name: storageDriver, Data: map[string]string{
			"UpperDir": c.dir("upper"),
			"WorkDir":  c.dir("work"),
		}},
		Mounts:          mountPoints(&rec),
		Config:          rec.Config,
		NetworkSettings: settings,
		ExecIDs:         e.execIDs(c),
	}, nil
}

// storageDriver is Docker's name for overlay mounts of unpacked layers.
const storageDriver = "overlay2"
