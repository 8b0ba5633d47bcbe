module drydock.example/01-chroot

go 1.26


