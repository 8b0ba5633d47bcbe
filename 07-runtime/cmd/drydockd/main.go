//go:build linux

// Drydockd is the daemon: it serves the Docker Engine API on a Unix socket.
//
//	drydockd                                    # /run/drydock/drydock.sock, /var/lib/drydock
//	drydockd --root DIR --state DIR             # a second, independent engine; its socket is DIR/drydock.sock
//
// A client may start it on demand. Such a starter learns through a pipe, whose
// descriptor is in DRYDOCK_READY_FD, that the socket is served (the line
// "ready") or why it never will be (any other text).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	overlayfs "drydock.example/04-overlayfs"
	images "drydock.example/06-images"
	"drydock.example/07-runtime/api"
	"drydock.example/07-runtime/builtin"
	"drydock.example/07-runtime/engine"
)

// version is set by the build: -ldflags "-X main.version=…".
var version = "dev"

// config is the command line.
type config struct {
	socket       string
	root, state  string
	config       string // directory of registries.json and certs.d
	runtime      string
	cgroupParent string
	logFile      string
	idle         time.Duration
	doctor       bool
}

func main() {
	cfg, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil && cfg.doctor {
		os.Exit(examine(os.Stdout, cfg.root))
	}
	ready := starter()
	if err == nil {
		err = run(cfg, ready)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "drydockd:", err)
		ready.failed(err)
		os.Exit(1)
	}
}

func parse(args []string) (config, error) {
	var cfg config
	var host string
	flags := flag.NewFlagSet("drydockd", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&host, "host", "", "serve the API on this socket, `unix://PATH` (default STATE/drydock.sock)")
	flags.StringVar(&host, "H", "", "short for --host")
	flags.StringVar(&cfg.root, "root", "/var/lib/drydock", "`DIR` of what survives a reboot: images, containers")
	flags.StringVar(&cfg.state, "state", "/run/drydock", "`DIR` of what dies with the machine: sockets, bundles")
	flags.StringVar(&cfg.config, "config", "/etc/drydock", "`DIR` of registries.json and certs.d, which say how registries are reached")
	flags.StringVar(&cfg.runtime, "runtime", "", "OCI `RUNTIME` with runc's command line (default drydock-runtime)")
	flags.StringVar(&cfg.cgroupParent, "cgroup-parent", "", "`CGROUP` below which containers' cgroups are made (default /drydock)")
	flags.StringVar(&cfg.logFile, "log-file", "", "append the log to `FILE` instead of stderr")
	flags.DurationVar(&cfg.idle, "idle", 0, "leave when no container has run and nobody has been connected for this `DURATION`; 0: stay")
	flags.BoolVar(&cfg.doctor, "doctor", false, "say what of this host will not work, why, and the cure, and leave")
	showVersion := flags.Bool("version", false, "print the version and leave")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Println("Usage: drydockd [OPTIONS]\n\nServe the Docker Engine API on a Unix socket.")
		flags.SetOutput(os.Stdout)
		flags.PrintDefaults()
		return cfg, err
	case err != nil:
		return cfg, fmt.Errorf("%w; see drydockd --help", err)
	case *showVersion:
		fmt.Println("drydockd version", version)
		return cfg, flag.ErrHelp
	case flags.NArg() > 0:
		return cfg, fmt.Errorf("unexpected argument %q; see drydockd --help", flags.Arg(0))
	case cfg.idle < 0:
		return cfg, fmt.Errorf("--idle %v: want a duration of 0 or more, as in 5m", cfg.idle)
	}
	for _, dir := range []*string{&cfg.root, &cfg.state, &cfg.config} {
		if *dir, err = filepath.Abs(*dir); err != nil {
			return cfg, err
		}
	}
	cfg.socket = filepath.Join(cfg.state, "drydock.sock")
	if host != "" {
		path, ok := strings.CutPrefix(host, "unix://")
		if !ok || !filepath.IsAbs(path) {
			return cfg, fmt.Errorf("--host %q: want unix:// and an absolute path, as in unix:///run/drydock/drydock.sock", host)
		}
		cfg.socket = path
	}
	return cfg, nil
}

// run serves until the daemon is told to leave, or leaves because it is idle.
func run(cfg config, ready *starterPipe) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("it makes namespaces, mounts and cgroups, for which it needs root; start it with sudo")
	}
	// Whoever started the daemon may have any umask; files of images and containers must not depend on it.
	unix.Umask(0o022)
	log, err := openLog(cfg.logFile)
	if err != nil {
		return err
	}
	for _, dir := range []string{cfg.root, cfg.state, filepath.Dir(cfg.socket)} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return err
		}
	}
	if err := overlayfs.Supported(cfg.root); err != nil {
		return err
	}

	// While one daemon starts or leaves, the next one waits, so that it finds
	// either a socket that answers or nothing at all.
	turn, err := takeTurn(cfg.state)
	if err != nil {
		return err
	}
	defer func() { turn.Close() }()
	if pid, alive := served(cfg.socket); alive {
		if ready != nil {
			ready.served()
			return nil
		}
		return fmt.Errorf("unix://%s is already served, by process %d", cfg.socket, pid)
	}
	for _, dir := range []string{cfg.root, cfg.state} {
		lock, err := own(dir)
		if err != nil {
			return err
		}
		defer lock.Close()
	}

	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	// A second signal does not wait for what the first one began.
	context.AfterFunc(ctx, stop)
	defer stop()
	e, err := openEngine(ctx, cfg)
	if err != nil {
		return fmt.Errorf("open the engine in %s: %w", cfg.root, err)
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	listener, err := listen(cfg.socket)
	if err != nil {
		return err
	}
	log.Info("serving", "socket", cfg.socket, "root", cfg.root, "state", cfg.state, "version", version)
	ready.served()
	if err := notifyManager(); err != nil {
		log.Warn("the service manager was not told", "error", err)
	}
	turn.Close()

	// The turn is kept until everything is closed: the next daemon must not find
	// half of this one.
	handler := func(ctx context.Context) http.Handler { return api.Handler(ctx, e, version, log) }
	turn, err = newDaemon(handler, e.Busy, cfg, log).serve(ctx, listener)
	log.Info("leaving", "socket", cfg.socket)
	return err
}

func openEngine(ctx context.Context, cfg config) (*engine.Engine, error) {
	registries, err := images.ReadRegistries(cfg.config)
	if err != nil {
		return nil, err
	}
	shim, err := sibling("drydock-shim")
	if err != nil {
		return nil, err
	}
	runtime := cfg.runtime
	if runtime == "" {
		runtime, err = sibling("drydock-runtime")
	} else {
		runtime, err = exec.LookPath(runtime)
	}
	if err != nil {
		return nil, err
	}
	var first []engine.Builtin
	for _, img := range builtin.Images() {
		first = append(first, engine.Builtin{Name: img.Name, Config: img.Config, Layer: img.Layer})
	}
	return engine.Open(ctx, engine.Options{
		Root: cfg.root, State: cfg.state,
		Runtime: runtime, Shim: shim,
		CgroupParent: cfg.cgroupParent,
		Registries:   registries,
		Version:      version,
		Builtin:      first,
	})
}

// sibling finds a program of Drydock's: beside this one, so that a build
// directory works as it is, else in PATH.
func sibling(name string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	if path, err := exec.LookPath(filepath.Join(filepath.Dir(self), name)); err == nil {
		return path, nil
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s is neither beside %s nor in PATH", name, self)
	}
	return path, nil
}

func openLog(path string) (*slog.Logger, error) {
	out := os.Stderr
	if path != "" {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, err
		}
		out = f
	}
	return slog.New(slog.NewTextHandler(out, nil)), nil
}
