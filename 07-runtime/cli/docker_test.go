//go:build linux

package cli_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"drydock.example/01-chroot/hosttest"
	images "drydock.example/06-images"
	"drydock.example/06-images/registry"
)

// told is what one command says to a script.
type told struct {
	Stdout, Stderr string
	Status         int
}

// What may differ from one run to the next.
var (
	anyID   = regexp.MustCompile(`\b[0-9a-f]{64}\b`)
	shortID = regexp.MustCompile(`\b[0-9a-f]{12}\b`)
	anyTime = regexp.MustCompile(`(Less than|About) a (second|minute)( ago)?|\d+ (second|minute)s?( ago)?`)
	anyDate = regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+(Z|[+-]\d\d:\d\d)`)
	spaces  = regexp.MustCompile(` {2,}`)
)

// tell runs a line by the shell, where "docker" is the client that is asked.
func tell(t *testing.T, client, host, line string) told {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", `docker() { command "$CLIENT" -H "$HOST" "$@"; }; `+line)
	cmd.Env = append(os.Environ(), "CLIENT="+client, "HOST="+host, "DOCKER_CONFIG="+t.TempDir())
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", line, err)
	}
	plain := func(b []byte) string {
		s := strings.ReplaceAll(string(b), "drydock", "docker")
		s = anyID.ReplaceAllString(s, "ID")
		s = shortID.ReplaceAllString(s, "ID")
		s = anyDate.ReplaceAllString(s, "DATE")
		s = anyTime.ReplaceAllString(s, "TIME")
		return spaces.ReplaceAllString(s, "  ")
	}
	return told{plain(stdout.Bytes()), plain(stderr.Bytes()), cmd.ProcessState.ExitCode()}
}

// The docker command line on this engine works, and drydock says the same words
// with the same status: a script need not know which of them it calls.
func TestTheSameAsDocker(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.Overlay, hosttest.Program("docker"))
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	d := running(t)
	registry := serveRegistry(t, filepath.Join(bin, "guests", "box"))
	for _, scene := range []struct {
		name  string
		lines []string
	}{
		{"images", []string{
			"docker images",
			"docker images -q",
			"docker images --no-trunc box",
			"docker image inspect box",
			"docker image inspect -f '{{.Os}} {{json .Config.Cmd}}' box",
			"docker inspect nothing",
			"docker rmi nothing",
		}},
		{"pull", []string{
			"docker pull " + registry + "/tiny:1",
			"docker pull " + registry + "/tiny:1",
			"docker images " + registry + "/tiny",
			"docker run --rm " + registry + "/tiny:1 cat /proc/sys/kernel/ostype",
			"docker rmi " + registry + "/tiny:1",
			"docker run --rm " + registry + "/tiny:1 true",
			"docker rmi -f " + registry + "/tiny:1",
			"docker pull " + registry + "/tiny:missing",
			"docker pull -q " + registry + "/tiny:1",
			"docker rmi " + registry + "/tiny:1",
		}},
		{"run", []string{
			"docker run --rm box sh -c 'echo out; exit 3'",
			"docker run --rm box sh -c 'echo err >&2'",
			"echo input | docker run --rm -i box cat",
			"docker run --rm box nope",
			"docker run --rm box /etc/passwd",
			"docker run --rm -e A=1 -w /tmp --hostname here box sh -c 'echo $A $PWD; hostname'",
			"docker run --rm -t box sh -c 'echo a terminal'",
			"docker run --rm --init box sh -c 'cat /proc/1/cmdline; exit 5'",
			"docker run --rm -m 1k box true",
			"docker run --rm 127.0.0.1:1/x",
			"docker run --rm --pull never nothing",
			"docker ps -a",
		}},
		{"lifecycle", []string{
			"docker create --name thing box sh -c 'echo hello; exit 4'",
			"docker create --name thing box true",
			"docker ps -a",
			"docker start -a thing",
			"docker start thing",
			"docker wait thing",
			"docker logs --tail 1 thing",
			"docker ps -a --no-trunc --format '{{.Names}} {{.Image}} {{.Command}} {{.State}} {{.Status}}'",
			"docker inspect -f '{{.State.Status}} {{.State.ExitCode}} {{.Name}} {{.Config.Image}}' thing",
			"docker rm thing",
			"docker rm thing",
			"docker rm -f thing",
			"docker inspect thing",
			"docker logs thing",
			"docker stop thing",
			"docker kill thing",
			"docker start thing",
			"docker attach thing",
		}},
		{"exec", []string{
			"docker run -d --name busy -e A=1 box sh -c 'echo up; sleep 1000'",
			"docker exec busy sh -c 'echo out; echo err >&2; exit 3'",
			"echo input | docker exec -i busy cat",
			"docker exec -e B=2 -w /tmp busy sh -c 'echo $A $B $PWD'",
			"docker exec busy nope",
			"docker exec busy /etc/passwd",
			"docker exec -t busy sh -c 'echo a terminal'",
			"docker exec -u nosuch busy true",
			"docker exec -d busy sleep 1000",
			"docker exec nothing true",
			"docker rm -f busy",
			"docker run --name over box true",
			"docker exec over true",
			"docker rm over",
		}},
		{"background", []string{
			"docker run -d --name back -p 127.0.0.1:18080:80 -p 53:53/udp -p 9000-9002:9000-9002 box sh -c 'echo up; sleep 1000'",
			"docker ps",
			"docker ps -q --no-trunc",
			"docker run --rm -p 127.0.0.1:18080:80 box true 2>&1 | grep -o 'port is already allocated'",
			"docker rm back",
			"docker kill back",
			"docker wait back",
			"docker kill back",
			"docker stop back",
			"docker rm back",
			"docker ps -a",
		}},
	} {
		t.Run(scene.name, func(t *testing.T) {
			var docker []told
			for _, line := range scene.lines {
				docker = append(docker, tell(t, "docker", d.host, line))
			}
			for i, line := range scene.lines {
				got, want := tell(t, filepath.Join(bin, "drydock"), d.host, line), docker[i]
				if got != want {
					t.Errorf("%s\n--- docker, exit status %d\n%s%s--- drydock, exit status %d\n%s%s",
						line, want.Status, want.Stdout, want.Stderr, got.Status, got.Stdout, got.Stderr)
				} else if testing.Verbose() {
					t.Logf("%s\n%s%s[%d]", line, got.Stdout, got.Stderr, got.Status)
				}
			}
		})
	}
}

// serveRegistry returns the address of a registry with the image tiny:1, which
// is the shell alone.
func serveRegistry(t *testing.T, box string) string {
	t.Helper()
	dir := t.TempDir()
	db, err := images.OpenDB(filepath.Join(dir, "meta.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	store, err := images.Open(dir, db)
	if err != nil {
		t.Fatal(err)
	}
	reg, err := registry.Open(filepath.Join(dir, "registry"), registry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reg.Close() })
	server := httptest.NewServer(reg)
	t.Cleanup(server.Close)
	program, err := os.ReadFile(box)
	if err != nil {
		t.Fatal(err)
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for _, h := range []tar.Header{
		{Name: "bin/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "bin/box", Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(program))},
		{Name: "bin/true", Typeflag: tar.TypeSymlink, Linkname: "box"},
		{Name: "bin/cat", Typeflag: tar.TypeSymlink, Linkname: "box"},
	} {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			w.Write(program)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	address := server.Listener.Addr().String()
	config := ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH}}
	config.Config.Cmd = []string{"true"}
	name := address + "/tiny:1"
	if _, err := store.Create(t.Context(), name, config, &layer); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Push(t.Context(), name, images.PushOptions{}); err != nil {
		t.Fatal(err)
	}
	return address
}
