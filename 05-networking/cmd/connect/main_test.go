//go:build linux

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"

	"drydock.example/01-chroot/hosttest"
)

func TestMain(m *testing.M) { os.Exit(hosttest.Run(m)) }

// Programs that are connected at the same moment, and leave at the same moment,
// meet in one network. The last one takes it away.
func TestManyAtOnce(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	dir := t.TempDir()
	for _, path := range []string{".", "../../internal/probe"} {
		build := exec.Command("go", "build", "-o", dir+"/", path)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("go build %s: %v\n%s", path, err, out)
		}
	}
	root := filepath.Join(dir, "root")
	if err := os.MkdirAll(root, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "probe"), filepath.Join(root, "probe")); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 3 {
				var out, stderr bytes.Buffer
				connect := exec.Command(filepath.Join(dir, "connect"), root, "/probe", "links")
				connect.Stdout, connect.Stderr = &out, &stderr
				if err := connect.Run(); err != nil || !strings.Contains(out.String(), "172.30.5.") {
					t.Errorf("connect: %v: %s%s", err, &out, &stderr)
				}
			}
		})
	}
	all.Wait()
	if _, err := netlink.LinkByName(network.Bridge); err == nil {
		t.Errorf("%s stays", network.Bridge)
	}
}
