module drydock.example/05-networking

go 1.26.0

require drydock.example/01-chroot v0.0.0

require (
	drydock.example/02-namespaces v0.0.0-00010101000000-000000000000
	github.com/containerd/errdefs v1.0.0
	github.com/google/nftables v0.3.0
	github.com/mdlayher/netlink v1.11.2
	github.com/miekg/dns v1.1.73
	github.com/opencontainers/runtime-spec v1.3.0
	github.com/vishvananda/netlink v1.3.1
	github.com/vishvananda/netns v0.0.5
	golang.org/x/net v0.59.0
	golang.org/x/sys v0.49.0
)

require (
	github.com/google/go-cmp v0.7.0 // indirect
	github.com/mdlayher/socket v0.6.0 // indirect
	github.com/moby/sys/capability v0.5.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
)

replace drydock.example/01-chroot => ../01-chroot

replace drydock.example/02-namespaces => ../02-namespaces

replace drydock.example/03-cgroups => ../03-cgroups

replace drydock.example/04-overlayfs => ../04-overlayfs
