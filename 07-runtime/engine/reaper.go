//go:build linux

package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"

	"github.com/moby/moby/api/types/container"
	"github.com/opencontainers/runtime-spec/specs-go/features"

	namespaces "drydock.example/02-namespaces"
)

// checkInit refuses HostConfig.Init where the runtime has no process 1 to give.
// Whether it has is in what it says of itself (runtime-spec, features.md): any
// runtime takes the annotation, and another one would pass over it.
func (e *Engine) checkInit(ctx context.Context, h *container.HostConfig) error {
	if h.Init == nil || !*h.Init {
		return nil
	}
	document, err := exec.CommandContext(ctx, e.opt.Runtime, "features").Output()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var f features.Features
	if err == nil {
		err = json.Unmarshal(document, &f)
	}
	if err == nil && f.Annotations[namespaces.InitAnnotation] != "true" {
		err = fmt.Errorf("its features do not have the annotation %s", namespaces.InitAnnotation)
	}
	if err != nil {
		return invalid("HostConfig.Init (--init) is not supported with the runtime %s: %w: start drydockd with drydock-runtime, or put an init of the image before the command",
			filepath.Base(e.opt.Runtime), err)
	}
	return nil
}
