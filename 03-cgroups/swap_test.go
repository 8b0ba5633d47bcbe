//go:build linux

package cgroups_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"syscall"
	"testing"
	"unsafe"

	"drydock.example/01-chroot/hosttest"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// swapOn gives the machine swap for the time of a test: a file behind a loop
// device. No namespace holds swap, so it does that to a kernel which is thrown
// away, and elsewhere takes what there is.
func swapOn(t *testing.T, size int64) {
	t.Helper()
	var now unix.Sysinfo_t
	if err := unix.Sysinfo(&now); err != nil {
		t.Fatal(err)
	}
	if int64(now.Freeswap)*int64(now.Unit) >= size {
		return
	}
	if err := hosttest.DisposableKernel(); err != nil {
		t.Skipf("requires %d MiB of free swap, or %v", size>>20, err)
	}
	device, _, _ := loop(t, size)
	// The header that mkswap(8) writes: union swap_header of linux/swap.h.
	page := os.Getpagesize()
	header := make([]byte, page)
	binary.NativeEndian.PutUint32(header[1024:], 1)                          // version
	binary.NativeEndian.PutUint32(header[1028:], uint32(size/int64(page))-1) // last page
	copy(header[page-10:], "SWAPSPACE2")
	f, err := os.OpenFile(device, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.Write(header)
	}
	// The file's pages are taken now. Later they would count for the cgroup that
	// swaps, and nothing would be won.
	for done := int64(page); err == nil && done < size; done += int64(page) {
		_, err = f.WriteAt(bytes.Repeat([]byte{1}, page), done)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	path, err := unix.BytePtrFromString(device)
	if err != nil {
		t.Fatal(err)
	}
	swap := func(call uintptr) error {
		if _, _, errno := unix.Syscall(call, uintptr(unsafe.Pointer(path)), 0, 0); errno != 0 {
			return errno
		}
		return nil
	}
	if err := swap(unix.SYS_SWAPON); err != nil {
		t.Skipf("requires swap on a loop device: swapon: %v", err)
	}
	t.Cleanup(func() {
		if err := swap(unix.SYS_SWAPOFF); err != nil {
			t.Error(err)
		}
	})
}

// Who takes 64 MiB where 32 are allowed is slow where the rest may go to swap,
// and dead where it may not.
func TestAMemoryHogWithAndWithoutSwap(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	const limit, takes = 32 << 20, "64"
	memory := func(both int64) *specs.LinuxResources {
		return &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(limit)), Swap: &both}}
	}
	swapOn(t, 96<<20)
	t.Run("with", func(t *testing.T) {
		c := create(t, "swap-with", memory(limit+64<<20))
		start(t, c, "hoard", takes) // it is ready when it has them all
		s, err := c.Stats()
		if err != nil {
			t.Fatal(err)
		}
		if m := s.Memory; m.OOMKills != 0 || m.Usage > limit || m.Swap < 24<<20 || m.SwapLimit != 64<<20 {
			t.Errorf("%+v, want some 32 MiB in memory, the rest in swap, and nobody killed", m)
		}
	})
	t.Run("with too little", func(t *testing.T) {
		c := create(t, "swap-little", memory(limit+8<<20))
		if s := start(t, c, "hog").signal(t); s != syscall.SIGKILL {
			t.Errorf("ended with %v, want SIGKILL", s)
		}
	})
	t.Run("without", func(t *testing.T) {
		c := create(t, "swap-without", memory(limit))
		if s := start(t, c, "hog").signal(t); s != syscall.SIGKILL {
			t.Errorf("ended with %v, want SIGKILL", s)
		}
		s, err := c.Stats()
		if err != nil || s.Memory.OOMKills == 0 || s.Memory.Swap != 0 {
			t.Errorf("%+v, %v: want one killed, and nothing in swap", s.Memory, err)
		}
	})
}
