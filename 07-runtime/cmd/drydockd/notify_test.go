//go:build linux

package main

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

func TestTheServiceManagerIsToldOnce(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	t.Setenv("NOTIFY_SOCKET", name)
	if err := notifyManager(); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 100)
	if n, err := manager.Read(said); err != nil || string(said[:n]) != "READY=1" {
		t.Errorf("%q, %v", said[:n], err)
	}
	if v, has := os.LookupEnv("NOTIFY_SOCKET"); has {
		t.Errorf("children would inherit NOTIFY_SOCKET=%s", v)
	}
}
