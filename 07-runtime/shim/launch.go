//go:build linux

package shim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/explain"
)

const chapter explain.Chapter = 7

// LaunchOptions say which container a shim is for.
type LaunchOptions struct {
	Config
	// Dir is the container's directory, which exists and is for root only. It
	// is the OCI bundle, and holds the shim's socket.
	Dir string
	// Shim is the program, drydock-shim.
	Shim string
	// Spec is written to DIR/config.json. Nil: it stands there. Its root.path
	// is the caller's to choose: [RootfsDir] where Config.Rootfs is set.
	Spec *specs.Spec
	// Network is a network namespace. The path of Spec's network namespace
	// becomes DIR/netns, where the shim binds it.
	Network *os.File
}

// Launch starts a shim, which at once has the runtime create the container;
// [Client.Created] waits for that. The shim goes on when the caller's process
// ends. It is the caller's child until then, and reaped by Launch.
func Launch(ctx context.Context, opt LaunchOptions) (*Client, error) {
	conf := opt.Config
	conf.Network = opt.Network != nil
	if opt.Spec != nil {
		spec := describe(&conf, opt)
		if err := writeJSON(filepath.Join(opt.Dir, "config.json"), spec); err != nil {
			return nil, err
		}
	}
	if err := writeJSON(filepath.Join(opt.Dir, ConfigFile), conf); err != nil {
		return nil, err
	}
	listener, err := listen(opt.Dir)
	if err != nil {
		return nil, fmt.Errorf("the shim's socket: %w", err)
	}
	defer listener.Close()
	// Connected before anyone accepts: the backlog keeps the connection and the
	// question, so there is nothing to poll for, and a shim that dies early is
	// noticed by the end of the stream.
	c := &Client{dir: opt.Dir, exit: conf.Exit}
	asked, err := c.ask(ctx, Request{Op: OpCreated}, nil)
	if err != nil {
		return nil, err
	}
	c.created.Store(asked)
	if err := start(ctx, opt, listener); err != nil {
		asked.Close()
		os.Remove(filepath.Join(opt.Dir, SocketFile))
		return nil, err
	}
	return c, nil
}

// describe copies into conf what the spec says and the shim must know, and
// returns the spec with the path of its network namespace.
func describe(conf *Config, opt LaunchOptions) *specs.Spec {
	spec := *opt.Spec
	conf.Terminal = spec.Process != nil && spec.Process.Terminal
	conf.SharedPIDs = true
	if spec.Linux == nil {
		return &spec
	}
	linux := *spec.Linux
	spec.Linux = &linux
	conf.Cgroup = linux.CgroupsPath
	linux.Namespaces = append([]specs.LinuxNamespace(nil), linux.Namespaces...)
	for i := range linux.Namespaces {
		ns := &linux.Namespaces[i]
		if ns.Type == specs.NetworkNamespace && opt.Network != nil {
			ns.Path = filepath.Join(opt.Dir, NetworkFile)
		}
		if ns.Type == specs.PIDNamespace && ns.Path == "" {
			conf.SharedPIDs = false
		}
	}
	return &spec
}

func start(ctx context.Context, opt LaunchOptions, listener *os.File) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	complaints, err := os.OpenFile(filepath.Join(opt.Dir, LogFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer complaints.Close()
	narration, _, err := explain.Pipe(ctx)
	if err != nil {
		return err
	}
	files := []*os.File{null, null, complaints, listener, opt.Network, narration}
	// A shim mostly sleeps: one thread for Go code and an eager garbage collector keep it small.
	env := append(os.Environ(), "GOMAXPROCS=1", "GOGC=20")
	if narration != nil {
		defer narration.Close()
		env = append(env, explain.Env(NarrationFD))
	}
	chapter.Call(ctx, "the supervisor gets a mount namespace, so that the container's root file system is mounted for as long as it lives", "clone(CLONE_VM|CLONE_VFORK|CLONE_NEWNS|SIGCHLD)")
	chapter.Call(ctx, "it outlives the engine, and its terminal", "setsid()")
	chapter.Call(ctx, "the supervisor is a small program of its own", "execve(%q, [\"drydock-shim\", %q])", opt.Shim, opt.Dir)
	p, err := os.StartProcess(opt.Shim, []string{"drydock-shim", opt.Dir}, &os.ProcAttr{
		Env:   env,
		Files: files,
		Sys:   &syscall.SysProcAttr{Setsid: true, Cloneflags: unix.CLONE_NEWNS},
	})
	if err != nil {
		return fmt.Errorf("launch the shim: %w", err)
	}
	// A zombie is all that an exited shim leaves to its parent; it must be collected.
	go p.Wait()
	return nil
}

// listen binds DIR/shim.sock. A socket's path may have 107 bytes, and a
// container's directory alone can have more: the name is given relative to a
// descriptor of the directory.
func listen(dir string) (*os.File, error) {
	var f *os.File
	err := atSocket(dir, func(path string) error {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			return err
		}
		l.SetUnlinkOnClose(false)
		defer l.Close()
		f, err = l.File()
		return err
	})
	return f, err
}

// atSocket calls do with a short path of DIR/shim.sock.
func atSocket(dir string, do func(path string) error) error {
	d, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer d.Close()
	return do(fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), SocketFile))
}

// writeJSON writes a file completely or not at all. It need not outlive a
// power cut: the container does not either.
func writeJSON(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".tmp", b, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}
