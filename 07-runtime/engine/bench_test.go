//go:build linux

package engine

import (
	"testing"

	"github.com/moby/moby/api/types/container"
)

// BenchmarkRun is what `docker run --rm` asks of the engine, without a network and with the bridge.
func BenchmarkRun(b *testing.B) {
	for _, mode := range []container.NetworkMode{"none", "bridge"} {
		b.Run(string(mode), func(b *testing.B) {
			e := openWith(b, options(b))
			<-e.bridge.ready
			for b.Loop() {
				req := request("exit", "0")
				req.HostConfig.NetworkMode, req.HostConfig.AutoRemove = mode, true
				r, err := e.ContainerCreate(b.Context(), "", req)
				if err != nil {
					b.Fatal(err)
				}
				removed, err := e.ContainerWait(b.Context(), r.ID, container.WaitConditionRemoved)
				if err != nil {
					b.Fatal(err)
				}
				if err := e.ContainerStart(b.Context(), r.ID); err != nil {
					b.Fatal(err)
				}
				if answer := <-removed; answer.StatusCode != 0 {
					b.Fatalf("exit code %d", answer.StatusCode)
				}
			}
		})
	}
}
