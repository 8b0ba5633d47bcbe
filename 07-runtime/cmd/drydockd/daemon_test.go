//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// testDaemon is a daemon without an engine, in a directory of its own.
func testDaemon(t *testing.T, idle time.Duration, busy func() bool, handler http.HandlerFunc) *daemon {
	t.Helper()
	state := t.TempDir()
	cfg := config{state: state, socket: filepath.Join(state, "drydock.sock"), idle: idle}
	return newDaemon(func(context.Context) http.Handler { return handler }, busy, cfg, slog.New(slog.DiscardHandler))
}

func never() bool { return false }

func answer(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "served\n") }

// get makes one request on a connection of its own.
func get(socket string) (string, error) {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
		return "", err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

func TestIdleDaemonLeaves(t *testing.T) {
	d := testDaemon(t, 20*time.Millisecond, never, answer)
	l, err := listen(d.cfg.socket)
	if err != nil {
		t.Fatal(err)
	}
	turn, err := d.serve(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(d.cfg.socket); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
	// The next daemon waits until this one has closed everything.
	f, err := os.Open(turn.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("the turn is free: %v", err)
	}
	turn.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Errorf("the turn is not free after its end: %v", err)
	}
}

func TestRunningContainerKeepsTheDaemon(t *testing.T) {
	var asked atomic.Int32
	d := testDaemon(t, time.Millisecond, func() bool { return asked.Add(1) < 5 }, answer)
	l, err := listen(d.cfg.socket)
	if err != nil {
		t.Fatal(err)
	}
	turn, err := d.serve(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	turn.Close()
	if asked.Load() < 5 {
		t.Errorf("left while a container ran, after %d looks", asked.Load())
	}
}

func TestConnectionKeepsTheDaemon(t *testing.T) {
	looked := make(chan struct{}, 100)
	d := testDaemon(t, time.Millisecond, func() bool { looked <- struct{}{}; return false }, answer)
	l, err := listen(d.cfg.socket)
	if err != nil {
		t.Fatal(err)
	}
	// Connected before anybody accepts, and silent.
	conn, err := net.Dial("unix", d.cfg.socket)
	if err != nil {
		t.Fatal(err)
	}
	left := make(chan error, 1)
	go func() {
		turn, err := d.serve(context.WithoutCancel(t.Context()), l)
		turn.Close()
		left <- err
	}()
	for range 5 {
		select {
		case <-looked:
		case err := <-left:
			t.Fatalf("left with somebody connected: %v", err)
		}
	}
	conn.Close()
	if err := <-left; err != nil {
		t.Fatal(err)
	}
}

// Whoever gets a connection gets an answer; who gets none is refused or finds no
// socket, and knows that a daemon has to be started. Nothing lies between: no
// reset, no end before the answer.
func TestLeavingLosesNobody(t *testing.T) {
	d := testDaemon(t, time.Microsecond, never, answer)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var clients sync.WaitGroup
	var served, refused atomic.Int32
	for range 4 {
		clients.Go(func() {
			for served.Load() < 500 {
				body, err := get(d.cfg.socket)
				switch {
				case err == nil && body == "served\n":
					served.Add(1)
				case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.ENOENT):
					refused.Add(1)
				default:
					t.Errorf("lost: %q, %v", body, err)
					stop()
					return
				}
			}
			stop()
		})
	}
	// A daemon after the other, each of which leaves as soon as it can.
	for ctx.Err() == nil {
		turn, err := takeTurn(d.cfg.state)
		if err != nil {
			t.Fatal(err)
		}
		next := newDaemon(func(context.Context) http.Handler { return http.HandlerFunc(answer) }, never, d.cfg, d.log)
		l, err := listen(d.cfg.socket)
		if err != nil {
			t.Fatal(err)
		}
		turn.Close()
		turn, err = next.serve(ctx, l)
		if err != nil {
			t.Fatal(err)
		}
		turn.Close()
	}
	clients.Wait()
	t.Logf("%d served, %d refused", served.Load(), refused.Load())
}

// A client that says nothing does not keep a daemon that is told to leave.
func TestSilentClientIsHungUpOn(t *testing.T) {
	d := testDaemon(t, 0, never, answer)
	l, err := listen(d.cfg.socket)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("unix", d.cfg.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, leave := context.WithCancel(t.Context())
	leave()
	turn, err := d.serve(ctx, l)
	if err != nil {
		t.Fatal(err)
	}
	turn.Close()
	if _, err := io.ReadAll(conn); err != nil && !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("the client sees %v, want the end", err)
	}
}

// A daemon that is told to leave ends streams and waits for what it has begun.
func TestToldToLeave(t *testing.T) {
	begun, finished := make(chan struct{}), make(chan struct{})
	d := testDaemon(t, 0, never, func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
		close(finished)
	})
	l, err := listen(d.cfg.socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(t.Context())
	go func() {
		<-begun
		leave()
	}()
	go get(d.cfg.socket)
	turn, err := d.serve(ctx, l)
	if err != nil {
		t.Fatal(err)
	}
	turn.Close()
	select {
	case <-finished:
	default:
		t.Error("left before the handler had ended")
	}
}

func TestSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "drydock.sock")
	if _, alive := served(path); alive {
		t.Error("a socket that is not there is served")
	}
	first, err := listen(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != os.ModeSocket|0o660 {
		t.Errorf("mode %v, want 0660", info.Mode())
	}
	if pid, alive := served(path); !alive || int(pid) != os.Getpid() {
		t.Errorf("served by %d (%v), want %d", pid, alive, os.Getpid())
	}
	// What a killed daemon leaves is a name that nobody listens at.
	first.Close()
	if _, alive := served(path); alive {
		t.Error("a stale socket is served")
	}
	second, err := listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if _, alive := served(path); !alive {
		t.Error("the socket that replaced a stale one is not served")
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("beside the socket: %v, %v", entries, err)
	}
	if _, err := listen("/" + strings.Repeat("x", 200)); err == nil || !strings.Contains(err.Error(), "the kernel takes") {
		t.Errorf("a path that is too long: %v", err)
	}
}

func TestOneDaemonPerDirectory(t *testing.T) {
	dir := t.TempDir()
	lock, err := own(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("%s is used by another drydockd, process %d; give this one a --root and a --state of its own", dir, os.Getpid())
	if _, err := own(dir); err == nil || err.Error() != want {
		t.Errorf("a second owner: %v, want %s", err, want)
	}
	lock.Close()
	lock, err = own(dir)
	if err != nil {
		t.Fatal(err)
	}
	lock.Close()
}

func TestCommandLine(t *testing.T) {
	cfg, err := parse([]string{"--state", "/x"})
	if err != nil || cfg.socket != "/x/drydock.sock" || cfg.root != "/var/lib/drydock" {
		t.Errorf("%+v, %v", cfg, err)
	}
	cfg, err = parse([]string{"-H", "unix:///y.sock", "--idle", "5m"})
	if err != nil || cfg.socket != "/y.sock" || cfg.idle != 5*time.Minute {
		t.Errorf("%+v, %v", cfg, err)
	}
	for args, want := range map[string]string{
		"--host tcp://0.0.0.0:1": `--host "tcp://0.0.0.0:1": want unix:// and an absolute path, as in unix:///run/drydock/drydock.sock`,
		"--host unix://x":        `--host "unix://x": want unix:// and an absolute path, as in unix:///run/drydock/drydock.sock`,
		"--idle soon":            `invalid value "soon" for flag -idle: parse error; see drydockd --help`,
		"--idle -1s":             `--idle -1s: want a duration of 0 or more, as in 5m`,
		"--rot /":                `flag provided but not defined: -rot; see drydockd --help`,
		"serve":                  `unexpected argument "serve"; see drydockd --help`,
	} {
		if _, err := parse(strings.Fields(args)); err == nil || err.Error() != want {
			t.Errorf("drydockd %s: %v, want %s", args, err, want)
		}
	}
}

func TestRegistriesThatMakeNoSense(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "registries.json"), []byte(`{"mirror": {}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := openEngine(t.Context(), config{config: dir, root: t.TempDir(), state: t.TempDir(), runtime: "true"})
	if want := `registries.json: json: unknown field "mirror"`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
}
