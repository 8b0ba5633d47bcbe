//go:build linux

package namespaces

import (
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"drydock.example/01-chroot/hosttest"
)

// In a user namespace a device is the host's, bound. What is bound must be the
// device that the spec describes, and not whatever else has that path there.
func TestABoundDeviceIsTheOneThatWasAskedFor(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.UserNamespaces)
	secret := t.TempDir() + "/secret"
	if err := os.WriteFile(secret, []byte("of the host"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		secret:         "the host's " + secret + " is not the device c 1:3",
		"/dev/console": "the host's /dev/console is not the device c 1:3",
	} {
		spec := NewSpec(newRoot(t), "/bin/probe", "read", path)
		spec.Linux.Devices = []specs.LinuxDevice{{Path: path, Type: "c", Major: 1, Minor: 3}}
		if err := OwnUserNamespace(spec); err != nil {
			t.Fatal(err)
		}
		p, err := Create(t.Context(), spec, Options{})
		if err == nil {
			p.Kill()
			p.Wait()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v\nwant … %s", path, err, want)
		}
	}
}
