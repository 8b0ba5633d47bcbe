//go:build linux

package engine

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/opencontainers/go-digest"
	"go.etcd.io/bbolt"
)

// The engine's buckets in meta.db; the image store has its own beside them.
var (
	containersBucket = []byte("containers") // ID → record as JSON
	networksBucket   = []byte("networks")   // name → networking.Network as JSON
	engineBucket     = []byte("engine")     // facts about the engine itself: its ID, whether the built-in images were installed
)

// record is what meta.db remembers of a container.
type record struct {
	ID         string
	Name       string // without the leading slash of the API
	Created    time.Time
	Image      digest.Digest   // of the image's config
	Manifest   digest.Digest   // of the image
	Layers     []digest.Digest // the image's diff IDs, the lowest first: the image may go, its layers stay
	Path       string          // program and arguments, as entrypoint and command give them
	Args       []string
	Config     *container.Config
	HostConfig *container.HostConfig
	State      state
	Endpoint   *endpoint // set while State.Status is running and the container has a cable
}

// state is a container's state as far as it is written down. Status is created, running or
// exited; running also means "a start was under way", which the start-up comparison sorts out.
type state struct {
	Status     container.ContainerState
	StartedAt  time.Time
	FinishedAt time.Time
	ExitCode   int
	OOMKilled  bool
	Error      string // why the last start failed
}

func (s state) running() bool { return s.Status == container.StateRunning }

// save writes the record; it is on disk when save returns.
func (e *Engine) save(r *record) error {
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("container %s: encode: %w", r.ID, err)
	}
	return e.db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket(containersBucket).Put([]byte(r.ID), data)
	})
}

// forget deletes the record of a container.
func (e *Engine) forget(id string) error {
	return e.db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket(containersBucket).Delete([]byte(id))
	})
}

// records reads all containers' records.
func (e *Engine) records() ([]record, error) {
	var all []record
	err := e.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(containersBucket).ForEach(func(k, v []byte) error {
			var r record
			if err := json.Unmarshal(v, &r); err != nil {
				return fmt.Errorf("container %s in %s: %w", k, e.db.Path(), err)
			}
			all = append(all, r)
			return nil
		})
	})
	return all, err
}
