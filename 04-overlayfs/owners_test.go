//go:build linux

package overlayfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"drydock.example/01-chroot/hosttest"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// capNetRaw is the attribute of a file with a capability, as archives have it.
const capNetRaw = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// accessList grants user 1000 and group 50 something, and the usual three.
const accessList = "\x02\x00\x00\x00" +
	"\x01\x00\x06\x00\xff\xff\xff\xff" + "\x02\x00\x04\x00\xe8\x03\x00\x00" + "\x04\x00\x04\x00\xff\xff\xff\xff" +
	"\x08\x00\x04\x00\x32\x00\x00\x00" + "\x10\x00\x06\x00\xff\xff\xff\xff" + "\x20\x00\x04\x00\xff\xff\xff\xff"

var shifted = Owners{
	UIDs: []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100_000, Size: 65_536}, {ContainerID: 3_000_000, HostID: 7, Size: 1}},
	GIDs: []specs.LinuxIDMapping{{ContainerID: 0, HostID: 200_000, Size: 65_536}},
}

// TestOwnersAreMapped: the host's numbers lie on the disk, in owners, access
// lists and capabilities, and the archive made of it has the container's again.
func TestOwnersAreMapped(t *testing.T) {
	dir := scratch(t)
	d := mkdirs(t, dir, "layer", "tree", "again")
	layer := archive(t,
		directory("implied/..", 0o755),
		regular("root", "x"),
		regular("user", "x").owned(1000, 50),
		regular("far", "x").owned(3_000_000, 1),
		regular("ping", "x").xattr("security.capability", capNetRaw),
		regular("shared", "x").mode(0o664).xattr("system.posix_acl_access", accessList),
		regular("implied/f", "x"),
	)
	if _, err := shifted.Unpack(t.Context(), d[0], bytes.NewReader(layer)); err != nil {
		t.Fatal(err)
	}
	got := describe(t, d[0])
	for name, want := range map[string]string{
		".": "owner=100000:200000", "root": "owner=100000:200000", "user": "owner=101000:200050", "far": "owner=7:200001", "implied": "owner=100000:200000",
		"ping":   `security.capability="\x01\x00\x00\x03\x00 \x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xa0\x86\x01\x00"`, // for root of 100000's namespace
		"shared": `\x02\x00\x04\x00\x88\x8a\x01\x00`,                                                                                    // user 101000
	} {
		if !strings.Contains(got[name], want) {
			t.Errorf("%s is\n\t%s\nwant\n\t%s", name, got[name], want)
		}
	}
	if !strings.Contains(got["shared"], `\b\x00\x04\x00r\r\x03\x00`) { // group 200050
		t.Errorf("shared is %s", got["shared"])
	}
	var back bytes.Buffer
	if err := shifted.Diff(t.Context(), d[0], &back); err != nil {
		t.Fatal(err)
	}
	if _, err := Unpack(t.Context(), d[2], &back); err != nil {
		t.Fatal(err)
	}
	got = describe(t, d[2])
	for name, want := range map[string]string{".": "owner=0:0", "user": "owner=1000:50", "far": "owner=3000000:1", "ping": fmt.Sprintf("security.capability=%q", capNetRaw), "shared": fmt.Sprintf("system.posix_acl_access=%q", accessList)} {
		if !strings.Contains(got[name], want) {
			t.Errorf("after the way back %s is\n\t%s\nwant\n\t%s", name, got[name], want)
		}
	}
}

// TestMappedUnpackIsTheInverseOfMappedDiff: random trees, the same archive again.
func TestMappedUnpackIsTheInverseOfMappedDiff(t *testing.T) {
	dir := scratch(t)
	for seed := range uint64(5) {
		d := mkdirs(t, dir, fmt.Sprint(seed, "/in"), fmt.Sprint(seed, "/out"))
		randomTree(t, d[0], rand.New(rand.NewPCG(seed, 3)), 80)
		layer := diff(t, d[0])
		if _, err := shifted.Unpack(t.Context(), d[1], bytes.NewReader(layer)); err != nil {
			t.Fatal(err)
		}
		var again bytes.Buffer
		if err := shifted.Diff(t.Context(), d[1], &again); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(layer, again.Bytes()) {
			t.Errorf("seed %d: another archive", seed)
		}
	}
}

func TestOwnersThatAreNotMapped(t *testing.T) {
	dir := scratch(t)
	layer := archive(t, regular("f", "x").owned(70_000, 0))
	_, err := shifted.Unpack(t.Context(), mkdirs(t, dir, "in")[0], bytes.NewReader(layer))
	if !errors.Is(err, errdefs.ErrInvalidArgument) || !strings.Contains(err.Error(), "the id 70000 of the container is none on the host") {
		t.Errorf("unpack: %v", err)
	}
	d := mkdirs(t, dir, "upper")[0]
	err = shifted.Diff(t.Context(), d, io.Discard)
	if !errors.Is(err, errdefs.ErrInvalidArgument) || !strings.Contains(err.Error(), "the id 0 of the host is none in the container") {
		t.Errorf("diff: %v", err)
	}
}

// userNamespace runs tests of this package once more, as root of a user
// namespace that has the ids from 0 to n-1, and returns what they print.
func userNamespace(t *testing.T, n int, args ...string) (string, error) {
	t.Helper()
	hosttest.Require(t, hosttest.Root, hosttest.UserNamespaces, hosttest.Kernel(5, 11))
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: n}}
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		// With a network of its own, which the tests' snapshot of the host reads.
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET,
		UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true,
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestInAUserNamespace: what this chapter says holds for root of a user
// namespace as well, where no device can be made and no trusted attribute set.
func TestInAUserNamespace(t *testing.T) {
	if inUserNamespace() {
		t.Skip("requires the host's user namespace: this is the other one")
	}
	t.Parallel()
	out, err := userNamespace(t, 1<<32-1, "-test.v", "-test.skip", "Readme|Exercises|LayersOf|OurLayers|WhatOthers|Stack|TestOwners|Mapped|Killed|"+t.Name())
	passed, skipped := strings.Count(out, "\n--- PASS"), strings.Count(out, "\n--- SKIP")
	t.Logf("%d passed, %d skipped", passed, skipped)
	if err != nil || passed < 30 {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestAnOwnerThatTheUserNamespaceLacks is an error with its cure, not a file of
// somebody else's.
func TestAnOwnerThatTheUserNamespaceLacks(t *testing.T) {
	if !inUserNamespace() {
		if out, err := userNamespace(t, 1000, "-test.run", "^"+t.Name()+"$", "-test.v"); err != nil || !strings.Contains(out, "--- PASS") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	if b, err := os.ReadFile("/proc/self/uid_map"); err != nil || !strings.HasSuffix(strings.TrimSpace(string(b)), " 1000") {
		t.Skip("requires a user namespace of 1000 ids")
	}
	dir := scratch(t)
	_, err := Unpack(t.Context(), dir, bytes.NewReader(archive(t, regular("f", "x").owned(1000, 0))))
	if err == nil || !strings.Contains(err.Error(), "chown 1000:0: this user namespace has no such id: give the user more in /etc/subuid") {
		t.Errorf("error %v", err)
	}
	if _, err := Unpack(t.Context(), dir, bytes.NewReader(archive(t, regular("f", "x").owned(999, 999)))); err != nil {
		t.Error(err)
	}
}
