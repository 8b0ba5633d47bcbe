//go:build linux

package registry

import (
	"io"
	"math/rand/v2"
	"net/http"
	"testing"

	"github.com/opencontainers/go-digest"
)

// BenchmarkThroughput sends and fetches a blob of 64 MiB, at ours and at
// docker-registry. Both are asked by this process, in which ours runs as well.
func BenchmarkThroughput(b *testing.B) {
	content := make([]byte, 64<<20)
	random := rand.NewChaCha8([32]byte{})
	random.Read(content)
	for _, peer := range []struct {
		name string
		url  func(b *testing.B) string
	}{
		{"ours", func(b *testing.B) string { return newScene(b, Options{}).url }},
		{"docker-registry", func(b *testing.B) string { return "http://" + dockerRegistry(b) }},
	} {
		b.Run(peer.name, func(b *testing.B) {
			s := &scene{t: b, url: peer.url(b)}
			var d digest.Digest
			b.Run("push", func(b *testing.B) {
				b.SetBytes(int64(len(content)))
				for b.Loop() {
					b.StopTimer()
					random.Read(content[:1024]) // or it would be there
					d = digest.FromBytes(content)
					b.StartTimer()
					s.do("PUT", withDigest(s.upload("bench"), d), content).want(201)
				}
			})
			b.Run("pull", func(b *testing.B) {
				b.SetBytes(int64(len(content)))
				for b.Loop() {
					resp, err := http.Get(s.url + "/v2/bench/blobs/" + d.String())
					if err != nil {
						b.Fatal(err)
					}
					n, err := io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
					if err != nil || n != int64(len(content)) {
						b.Fatalf("%d bytes, %v", n, err)
					}
				}
			})
		})
	}
}
