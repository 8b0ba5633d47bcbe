module drydock.example/02-namespaces

go 1.26

require drydock.example/01-chroot v0.0.0

replace drydock.example/01-chroot => ../01-chroot
