//go:build linux

package overlayfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// envApply names the store to which this test binary applies its input, instead
// of running tests: a process that can be killed.
const envApply = "DRYDOCK_TEST_APPLY"

// applyInput is that process. It says its digest when the layer is there.
func applyInput(dir string) int {
	s, err := OpenStore(dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	id, _, err := s.Import(context.Background(), os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(id)
	return 0
}

// TestKilledApplyLeavesNothing kills a process with SIGKILL while it applies a
// layer, after any number of bytes: no layer is ever seen but a whole one, and
// the next opening of the store removes the rest.
func TestKilledApplyLeavesNothing(t *testing.T) {
	dir := scratch(t)
	var items []item
	for i := range 400 {
		items = append(items, regular(fmt.Sprintf("d%d/f%d", i/20, i), strings.Repeat("x", i*10)))
	}
	layer := archive(t, items...)
	whole := unpacked(t, dir, items...)
	r := rand.New(rand.NewPCG(4, 4))
	for i := range 15 {
		store := fmt.Sprintf("%s/store%d", dir, i)
		cut := r.IntN(len(layer) + 1)
		if i == 0 {
			cut = len(layer) // everything is read; it is killed somewhere behind
		}
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), envApply+"="+store)
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// A pipe holds 64 KiB: when the rest is written, most has been read.
		if _, err := stdin.Write(layer[:cut]); err != nil {
			t.Fatal(err)
		}
		if cut == len(layer) {
			stdin.Close()
		}
		if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
		s, err := OpenStore(store)
		if err != nil {
			t.Fatal(err)
		}
		layers, err := s.List()
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case len(layers) == 0:
			s.empty(t)
		case cut == len(layer) && layers[0] == digest.FromBytes(layer):
			lower, err := s.Lower(layers)
			if err != nil {
				t.Fatal(err)
			}
			if diff := differences(describe(t, whole), describe(t, lower[0])); diff != "" {
				t.Errorf("killed after everything was read: the layer is there, but not whole:\n%s", diff)
			}
		default:
			t.Errorf("killed after %d of %d bytes: the store has %v", cut, len(layer), layers)
		}
		// The same store takes the layer now.
		if _, err := s.Apply(t.Context(), digest.FromBytes(layer), bytes.NewReader(layer)); err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(store); err != nil {
			t.Fatal(err)
		}
	}
}
