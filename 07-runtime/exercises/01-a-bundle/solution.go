//go:build linux && solution

// Package abundle is an exercise of chapter 7.
package abundle

import (
	"encoding/json"
	"os"
	"path/filepath"
)

// object is a JSON object.
type object map[string]any

// Bundle makes a bundle of dir, which holds the root file system rootfs: it
// writes a config.json that runs args, without a terminal, under the host name
// hostname, with new pid, mnt and uts namespaces and a read-only root.
func Bundle(dir, hostname string, args ...string) error {
	config, err := json.MarshalIndent(object{
		"ociVersion": "1.0.2",
		"root":       object{"path": "rootfs", "readonly": true},
		"hostname":   hostname,
		"process": object{
			"user": object{"uid": 0, "gid": 0},
			"cwd":  "/",
			"env":  []string{"PATH=/bin"},
			"args": args,
		},
		"mounts": []object{{"destination": "/proc", "type": "proc", "source": "proc"}},
		"linux":  object{"namespaces": []object{{"type": "pid"}, {"type": "mount"}, {"type": "uts"}}},
	}, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "config.json"), config, 0o644)
}
