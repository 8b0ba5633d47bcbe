//go:build linux

package networking

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"drydock.example/01-chroot/doctor"
)

// tunDevice makes tap links (Documentation/networking/tuntap.rst). udev lets
// everybody open it: a link takes CAP_NET_ADMIN in the namespace besides.
const tunDevice = "/dev/net/tun"

// tunCure is for a host where nobody, or root alone, may open the device.
func tunCure(err error) string {
	if errors.Is(err, fs.ErrPermission) {
		return "sudo chmod 666 " + tunDevice
	}
	return "sudo modprobe tun"
}

// openableTun is an error when this user may not open the device.
func openableTun() error {
	f, err := os.OpenFile(tunDevice, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("a network without root takes a tap device: %w; the cure: %s", err, tunCure(err))
	}
	return f.Close()
}

// tunFound judges the device by its mode: root may open it whatever that says.
func tunFound(info fs.FileInfo, err error) doctor.Result {
	if err == nil && info.Mode().Perm()&0o006 != 0o006 {
		err = fmt.Errorf("%s has mode %#o: %w", tunDevice, info.Mode().Perm(), fs.ErrPermission)
	}
	if err == nil {
		return doctor.Fine("everybody's")
	}
	return doctor.Result{
		Status: doctor.Limited, Found: err.Error(), Breaks: "networks without root: pasta and slirp4netns end at once",
		Why: "udev would have given the device to everybody; what makes a tap link asks for it", Cure: []string{tunCure(err)},
	}
}
