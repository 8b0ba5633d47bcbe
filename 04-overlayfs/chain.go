package overlayfs

import (
	_ "crypto/sha256" // for digest.FromString

	"github.com/opencontainers/go-digest"
)

// ChainID names a stack of layers by one digest: two stacks have the same
// chain ID when they have the same layers in the same order. diffIDs start
// with the base. The chain ID of one layer is its diff ID, and that of no
// layer is "".
//
// Source: OCI image-spec, config.md, "Layer ChainID".
func ChainID(diffIDs []digest.Digest) digest.Digest {
	var chain digest.Digest
	for i, diffID := range diffIDs {
		if i == 0 {
			chain = diffID
			continue
		}
		chain = digest.FromString(chain.String() + " " + diffID.String())
	}
	return chain
}
