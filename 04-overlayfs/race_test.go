//go:build linux

package overlayfs

import (
	"bytes"
	"fmt"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSwappedSymlink lets an attacker exchange a directory of the layer with a
// link that leads out of it, as fast as he can, while archives are unpacked into
// that directory. Wherever the name leads at the moment, every file lands in the
// layer: below it there is a directory of the link's absolute path as well.
func TestSwappedSymlink(t *testing.T) {
	dir := scratch(t)
	outside, layer := mkdirs(t, dir, "outside")[0], mkdirs(t, dir, "layer")[0]
	mkdirs(t, layer, outside, "d")
	d, link := layer+"/d", layer+"/link"
	var items []item
	for i := range 50 {
		sub := fmt.Sprintf("d/sub%d", i)
		items = append(items, regular(sub+"/f", "x"), hardlink(sub+"/h", sub+"/f"), symlink(fmt.Sprintf("d/s%d", i), "x"),
			regular(fmt.Sprintf("d/.wh.w%d", i), ""), directory(sub, 0o700), directory("d", 0o777).owned(1, 1))
	}
	archive := archive(t, items...)
	stop := make(chan struct{})
	var attacker sync.WaitGroup
	swaps := 0
	attacker.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if unix.Renameat2(unix.AT_FDCWD, d, unix.AT_FDCWD, link, unix.RENAME_EXCHANGE) == nil {
				swaps++
				continue
			}
			_ = os.Symlink(outside, link) // an entry has replaced one of the two
			_ = os.Mkdir(d, 0o755)
		}
	})
	done := 0
	for range 15 {
		if _, err := Unpack(t.Context(), layer, bytes.NewReader(archive)); err == nil {
			done++ // else: a name was gone between two calls, and that was said
		}
	}
	close(stop)
	attacker.Wait()
	var st unix.Stat_t
	if err := unix.Stat(outside, &st); err != nil || st.Mode&0o7777 != 0o755 || st.Uid != 0 || st.Nlink != 2 {
		t.Errorf("the directory outside has mode %o, owner %d, %d names, %v", st.Mode&0o7777, st.Uid, st.Nlink, err)
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
		t.Errorf("%d files are outside, %v", len(left), err)
	}
	if swaps == 0 {
		t.Error("there was no race: nothing was swapped")
	}
	t.Logf("%d swaps, %d of 15 archives unpacked", swaps, done)
}
