//go:build linux

package main

import (
	"net"
	"os"
	"strings"
)

// notifyManager tells the service manager that the socket is served, where one
// asks for it (sd_notify(3), Type=notify in the unit). It forgets the variable,
// so that no child speaks for the daemon.
func notifyManager() error {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return nil
	}
	os.Unsetenv("NOTIFY_SOCKET")
	if rest, abstract := strings.CutPrefix(name, "@"); abstract {
		name = "\x00" + rest
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write([]byte("READY=1"))
	return err
}
