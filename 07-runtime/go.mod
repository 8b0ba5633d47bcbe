module drydock.example/07-runtime

go 1.26

require drydock.example/01-chroot v0.0.0
require drydock.example/02-namespaces v0.0.0
require drydock.example/03-cgroups v0.0.0
require drydock.example/04-overlayfs v0.0.0
require drydock.example/05-networking v0.0.0
require drydock.example/06-images v0.0.0

replace drydock.example/01-chroot => ../01-chroot
replace drydock.example/02-namespaces => ../02-namespaces
replace drydock.example/03-cgroups => ../03-cgroups
replace drydock.example/04-overlayfs => ../04-overlayfs
replace drydock.example/05-networking => ../05-networking
replace drydock.example/06-images => ../06-images
