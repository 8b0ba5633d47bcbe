//go:build linux && !race

// Not with the race detector: it looks into one process, and here each is killed.

package images

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"

	"drydock.example/01-chroot/hosttest"
)

// The test binary under this name pulls $1 into the store in $2, and says when
// it begins and that it is done.
const pullProcess = "pull process"

func init() {
	if os.Args[0] != pullProcess {
		return
	}
	err := func() error {
		db, err := OpenDB(filepath.Join(os.Args[2], "images.db"))
		if err != nil {
			return err
		}
		s, err := Open(os.Args[2], db)
		if err != nil {
			return err
		}
		fmt.Println("begin")
		if _, err := s.Pull(context.Background(), os.Args[1], PullOptions{}); err != nil {
			return err
		}
		fmt.Println("done")
		return nil
	}()
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// pullAndKill starts a puller and kills it some time after it has begun; 0
// lets it come to its end, and returns how long that took.
func pullAndKill(name, dir string, after time.Duration) (took time.Duration, done bool, err error) {
	cmd := &exec.Cmd{Path: "/proc/self/exe", Args: []string{pullProcess, name, dir}}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, false, err
	}
	if err := cmd.Start(); err != nil {
		return 0, false, err
	}
	lines := bufio.NewScanner(out)
	var first, last string
	if lines.Scan() {
		first, last = lines.Text(), lines.Text()
	}
	began := time.Now()
	if after > 0 {
		timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() }) // it may have ended
		defer timer.Stop()
	}
	for lines.Scan() {
		last = lines.Text()
	}
	took = time.Since(began)
	werr := cmd.Wait()
	if first != "begin" || werr != nil && cmd.ProcessState.Sys().(interface{ Signaled() bool }).Signaled() == false {
		return took, false, fmt.Errorf("the puller says %q and %q: %w", first, last, werr)
	}
	return took, last == "done", nil
}

// kills is how often a pull is killed.
const kills = 200

// A pull that is killed with SIGKILL at any moment leaves a store that is whole:
// each blob is what its digest says, each layer has all of its files, each
// image has all of its layers. The next pull goes on with what is there.
func TestKilledPulls(t *testing.T) {
	t.Parallel()
	hosttest.Require(t, hosttest.Root)
	r := newRegistry(t)
	files := map[digest.Digest]string{} // diff ID → what its file has
	var layers []layer
	for i, content := range []string{noise(200_000), noise(100_000), "small"} {
		l := gzipLayer(t, "file", content)
		if i == 1 {
			l = zstdLayer(t, "file", content)
		}
		layers = append(layers, l)
		files[l.diffID()] = content
	}
	r.put("demo", "1", layers...)
	name := r.host + "/demo:1"

	whole := t.TempDir()
	took, done, err := pullAndKill(name, whole, 0)
	if err != nil || !done {
		t.Fatal(done, err)
	}
	var killed, finished atomic.Int64
	var workers sync.WaitGroup
	const parallel = 4
	for range parallel {
		dir := t.TempDir()
		workers.Go(func() {
			whole := took
			for range kills / parallel {
				took, done, err := pullAndKill(name, dir, 1+rand.N(whole))
				if err != nil {
					t.Error(err)
					return
				}
				if done {
					whole = took // of a machine that has less to do by now
					finished.Add(1)
				} else {
					killed.Add(1)
				}
				if err := checkStore(dir, name, files); err != nil {
					t.Error(err)
					return
				}
			}
			if _, done, err := pullAndKill(name, dir, 0); err != nil || !done {
				t.Error("the pull after the last kill:", err)
			}
			if err := checkStore(dir, name, files); err != nil {
				t.Error(err)
			}
		})
	}
	workers.Wait()
	t.Logf("%d pulls were killed, %d were faster", killed.Load(), finished.Load())
	if killed.Load() < kills/4 {
		t.Errorf("only %d of %d pulls were killed", killed.Load(), kills)
	}
}

// checkStore opens a store as the next process would, checks all that it has,
// and removes the image if it is there, so that the next pull has work.
func checkStore(dir, name string, files map[digest.Digest]string) (err error) {
	db, err := OpenDB(filepath.Join(dir, "images.db"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	s, err := Open(dir, db)
	if err != nil {
		return err
	}
	blobs, err := s.content.List()
	if err != nil {
		return err
	}
	for _, d := range blobs {
		if err := s.content.Check(d); err != nil {
			return err
		}
	}
	diffIDs, err := s.layers.List()
	if err != nil {
		return err
	}
	for _, d := range diffIDs {
		lower, err := s.layers.Lower([]digest.Digest{d})
		if err != nil {
			return err
		}
		b, err := os.ReadFile(filepath.Join(lower[0], "file"))
		if err != nil || string(b) != files[d] {
			return fmt.Errorf("layer %s has %d bytes of %d: %w", d, len(b), len(files[d]), err)
		}
	}
	img, err := s.Get(name)
	if errdefs.IsNotFound(err) {
		return nil
	} else if err != nil {
		return err
	}
	for _, d := range img.DiffIDs {
		if !s.layers.Has(d) {
			return fmt.Errorf("the image lacks the layer %s", d)
		}
	}
	_, _, err = s.Remove(context.Background(), name, true)
	return err
}
