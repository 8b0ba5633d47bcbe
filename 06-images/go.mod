module drydock.example/06-images

go 1.26.0

require drydock.example/01-chroot v0.0.0

require drydock.example/02-namespaces v0.0.0

require drydock.example/03-cgroups v0.0.0

require drydock.example/04-overlayfs v0.0.0

require drydock.example/05-networking v0.0.0

require (
	github.com/containerd/errdefs v1.0.0 // indirect
	github.com/distribution/distribution/v3 v3.1.2 // indirect
	github.com/distribution/reference v0.6.0 // indirect
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/opencontainers/go-digest v1.0.0 // indirect
	github.com/opencontainers/image-spec v1.1.1 // indirect
	github.com/sirupsen/logrus v1.10.2 // indirect
	go.etcd.io/bbolt v1.5.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/term v0.47.0 // indirect
)

replace drydock.example/01-chroot => ../01-chroot

replace drydock.example/02-namespaces => ../02-namespaces

replace drydock.example/03-cgroups => ../03-cgroups

replace drydock.example/04-overlayfs => ../04-overlayfs

replace drydock.example/05-networking => ../05-networking
