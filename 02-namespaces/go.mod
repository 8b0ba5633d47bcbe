module drydock.example/02-namespaces

go 1.26.0

require (
	drydock.example/01-chroot v0.0.0
	github.com/moby/sys/capability v0.5.0
	github.com/opencontainers/runtime-spec v1.3.0
	golang.org/x/sys v0.49.0
)

replace drydock.example/01-chroot => ../01-chroot
