module drydock.example/04-overlayfs

go 1.26.0

require drydock.example/01-chroot v0.0.0

require drydock.example/02-namespaces v0.0.0

require (
	github.com/containerd/errdefs v1.0.0
	github.com/klauspost/compress v1.20.3
	github.com/opencontainers/go-digest v1.0.0
	github.com/opencontainers/runtime-spec v1.3.0
	golang.org/x/sync v0.24.0
	golang.org/x/sys v0.49.0
)

require github.com/moby/sys/capability v0.5.0 // indirect

replace drydock.example/01-chroot => ../01-chroot

replace drydock.example/02-namespaces => ../02-namespaces

replace drydock.example/03-cgroups => ../03-cgroups
