//go:build linux

package oci

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	namespaces "drydock.example/02-namespaces"
	cgroups "drydock.example/03-cgroups"
)

// CreateOptions are what create and run are told beside the bundle's config.
type CreateOptions struct {
	Bundle        string
	ConsoleSocket string // path of the Unix socket that receives the terminal's master
	PidFile       string // receives the process id, in decimal: of create when it waits, of run when it runs
	PidfdSocket   string // path of the Unix socket that receives a pidfd of the process, before it is started
	ListenFDs     int    // how many descriptors, from 3 on, are sockets for the program (sd_listen_fds(3))
	PreserveFDs   int    // how many descriptors, from those on, the program gets
	NotifySocket  string // path of the socket that is told when the program is ready (sd_notify(3))
	NoPivot       bool   // leave the old root behind by a move instead of pivot_root(2), which cannot leave a ramdisk
	NoNewKeyring  bool   // keep the caller's session keyring
}

// Create makes a container that waits to be started. Its process outlives the
// caller's. On an error nothing is left.
func (r Runtime) Create(ctx context.Context, id string, opt CreateOptions) error {
	console := func(wanted bool) (*os.File, error) { return openConsoleSocket(opt.ConsoleSocket, wanted) }
	c, p, err := r.create(ctx, id, opt, console, nil, true)
	if err != nil {
		return err
	}
	defer c.release()
	return p.Release()
}

// create makes the container and returns it locked. console is told whether
// the config wants a terminal, and answers with the socket to send it to. The
// process waits for the fifo, so that another invocation can start it, or for
// Process.Start.
func (r Runtime) create(ctx context.Context, id string, opt CreateOptions, console func(wanted bool) (*os.File, error), signals *caught, fifo bool) (_ *container, _ *namespaces.Process, err error) {
	if !validID(id) {
		return nil, nil, ErrInvalidID
	}
	bundle, err := filepath.Abs(opt.Bundle)
	if err != nil {
		return nil, nil, err
	}
	spec, config, err := readConfig(bundle)
	if err != nil {
		return nil, nil, err
	}
	if spec.Process == nil && !fifo {
		return nil, nil, ErrNoProcess
	}
	spec.Process = processOf(spec)
	socket, err := console(spec.Process.Terminal)
	if err != nil {
		return nil, nil, err
	}
	if socket != nil {
		defer socket.Close()
	}
	c, err := r.newContainer(ctx, id, bundle, spec)
	if err != nil {
		return nil, nil, err
	}
	if spec.Linux.MountLabel != "" && !namespaces.SELinux() {
		spec.Linux.MountLabel = ""
		r.warn("linux.mountLabel: SELinux is not enabled here: the mounts have no label")
	}
	r.knownAccess(spec.Linux.Resources)
	p, err := c.make(ctx, spec, config, opt, socket, signals, fifo, r.Rootless)
	if err != nil {
		c.release()
		return nil, nil, err
	}
	r.warn(p.Warnings...)
	return c, p, nil
}

// knownAccess passes over letters of device rules that mean nothing, where others
// stand beside them: nothing is granted for them. A rule without any known one
// is refused where it is set.
func (r Runtime) knownAccess(resources *specs.LinuxResources) {
	if resources == nil {
		return
	}
	for i := range resources.Devices {
		access := &resources.Devices[i].Access
		known := strings.Map(func(letter rune) rune {
			if strings.ContainsRune("rwm", letter) {
				return letter
			}
			return -1
		}, *access)
		if known != "" && known != *access {
			r.warn(fmt.Sprintf("linux.resources.devices[%d].access: %q: only r, w and m are known: it is taken for %q", i, *access, known))
			*access = known
		}
	}
}

// newContainer claims the ID.
func (r Runtime) newContainer(ctx context.Context, id, bundle string, spec *specs.Spec) (*container, error) {
	if err := os.MkdirAll(r.Root, 0o711); err != nil {
		return nil, err
	}
	c := &container{dir: filepath.Join(r.Root, id)}
	if err := os.Mkdir(c.dir, 0o711); errors.Is(err, fs.ErrExist) {
		return nil, ErrExists
	} else if err != nil {
		return nil, err
	}
	if err := c.take(); err != nil {
		return nil, err
	}
	c.record = record{
		Version: specs.Version, ID: id, Bundle: bundle, Rootfs: spec.Root.Path, Created: time.Now().UTC(), Annotations: spec.Annotations,
	}
	if !r.Systemd {
		c.Cgroup = cgroupPath(spec, id)
	} else if err := c.nameUnit(ctx, spec, r.Rootless); err != nil {
		c.release()
		return nil, errors.Join(err, os.RemoveAll(c.dir))
	}
	c.HostMounts = !slices.ContainsFunc(spec.Linux.Namespaces, func(ns specs.LinuxNamespace) bool { return ns.Type == specs.MountNamespace })
	c.NoProcess = len(spec.Process.Args) == 0
	if spec.Linux.Resources != nil {
		c.Pids = spec.Linux.Resources.Pids
	}
	if spec.Hooks != nil {
		c.Poststart, c.Poststop = spec.Hooks.Poststart, spec.Hooks.Poststop
	}
	return c, nil
}

// cgroupPath is where the container's processes are counted: below the root of
// each hierarchy, also where the config's path is relative, which leaves the
// place to the runtime (runtime-spec, config-linux.md#cgroups-path).
func cgroupPath(spec *specs.Spec, id string) string {
	if p := spec.Linux.CgroupsPath; p != "" {
		return path.Clean("/" + p)
	}
	return "/" + id
}

// make does the work of create, and undoes it where it fails.
func (c *container) make(ctx context.Context, spec *specs.Spec, config []byte, opt CreateOptions, console *os.File, signals *caught, fifo, rootless bool) (p *namespaces.Process, err error) {
	files := handedOver(spec.Process, opt.ListenFDs, opt.PreserveFDs)
	var cgroup *cgroups.Cgroup
	defer func() {
		if err == nil {
			return
		}
		undo := context.WithoutCancel(ctx)
		if p != nil {
			p.Kill()
			p.Wait()
			p = nil
		}
		if cgroup != nil {
			err = errors.Join(err, cgroup.Kill(undo), deleteCgroup(undo, cgroup))
		}
		err = errors.Join(err, c.RDT.leave(undo), c.stopUnit(undo), c.unmount(undo))
		os.RemoveAll(c.dir)
	}()
	if opt.NotifySocket != "" {
		if err := c.makeNotify(spec); err != nil {
			return nil, err
		}
	}
	o := namespaces.Options{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, ConsoleSocket: console, Files: files,
		State: new(c.hookState(0, specs.StateCreating)), NoPivot: opt.NoPivot, Reaper: reaped(spec),
		Started: func() error { return c.started(ctx) },
	}
	// Each step is written down before it is taken, or what it made would be
	// nobody's when this process is killed right after it. The process itself
	// ends with this one until it is ready.
	if err := c.save(); err != nil {
		return nil, err
	}
	if c.Unit == nil { // a unit cannot be without a process
		cgroup, err = cgroups.Create(ctx, c.Cgroup, spec.Linux.Resources)
		switch {
		case err == nil:
			c.CgroupMade = true
			if err := c.save(); err != nil {
				return nil, err
			}
			defer closeEntrance(&o)
			if err := openEntrance(cgroup, &o); err != nil {
				return nil, err
			}
		case errdefs.IsAlreadyExists(err): // a pause, an end, a limit of one would be the other's too
			return nil, fmt.Errorf("container's cgroup is not empty: %w", err)
		case !rootless || !errors.Is(err, fs.ErrPermission) && !errdefs.IsPermissionDenied(err) || limited(spec.Linux.Resources):
			return nil, err
		}
	}
	o.Born = func(pid int) (err error) {
		signals.catch()
		if err := writeFile(filepath.Join(c.dir, ConfigFile), config); err != nil {
			return err
		}
		if err := freeAffinity(ctx, pid); err != nil {
			return err
		}
		if c.Unit != nil {
			if cgroup, err = c.startUnit(ctx, spec, pid); err != nil {
				return err
			}
		}
		if r := spec.Linux.IntelRdt; r != nil {
			if c.RDT, err = joinRDT(ctx, resctrl(), c.ID, r, pid); err != nil {
				return err
			}
		}
		if c.Unit == nil && c.RDT == nil {
			return nil
		}
		return c.save()
	}
	if !opt.NoNewKeyring {
		o.Keyring = "_ses." + c.ID
	}
	if spec.Hooks != nil || len(spec.Linux.NetDevices) > 0 {
		o.Prestart = func(pid int) error {
			if err := moveNetDevices(ctx, spec.Linux.NetDevices, pid); err != nil {
				return err
			}
			return c.createRuntimeHooks(ctx, spec.Hooks, pid)
		}
	}
	if fifo {
		if err := c.makeFifo(ctx, spec); err != nil {
			return nil, err
		}
		o.Fifo = c.fifo()
	}
	if p, err = namespaces.Create(ctx, spec, o); err != nil {
		return nil, err
	}
	c.Pid, c.StartTime = p.Pid, startTime(p.Pid)
	if err := c.save(); err != nil {
		return p, err
	}
	if opt.PidfdSocket != "" {
		if err := sendPidfd(opt.PidfdSocket, p.Pid); err != nil {
			return p, err
		}
	}
	if opt.PidFile != "" {
		if err := writePidFile(opt.PidFile, p.Pid); err != nil {
			return p, err
		}
	}
	return p, nil
}

// openEntrance has the process get into the cgroup: on v2 it is born there, on
// v1 it steps in by itself. Both cost nothing; to be moved there would take a
// grace period of RCU, some 10 ms.
func openEntrance(cgroup *cgroups.Cgroup, o *namespaces.Options) (err error) {
	if o.Cgroup, err = cgroup.Dir(); err != nil {
		return err
	}
	o.Tasks, err = cgroup.Tasks()
	return err
}

func closeEntrance(o *namespaces.Options) {
	if o.Cgroup != nil {
		o.Cgroup.Close()
	}
	for _, f := range o.Tasks {
		f.Close()
	}
}

// handedOver returns the caller's descriptors that the program gets, and adds
// the variables that tell it of those that are sockets. That the caller has
// opened them must be known already: here they could be this process's own.
func handedOver(process *specs.Process, listen, preserve int) []*os.File {
	var files []*os.File
	for fd := 3; fd < 3+listen+preserve; fd++ {
		files = append(files, os.NewFile(uintptr(fd), "preserved"))
	}
	if listen > 0 {
		process.Env = append(process.Env, "LISTEN_FDS="+strconv.Itoa(listen), "LISTEN_PID=1")
	}
	return files
}

// limited reports whether a cgroup is asked for: devices alone are not a limit
// that an ordinary user could set.
func limited(r *specs.LinuxResources) bool {
	return r != nil && (r.Memory != nil || r.CPU != nil || r.Pids != nil || r.BlockIO != nil || r.Network != nil ||
		len(r.HugepageLimits)+len(r.Rdma)+len(r.Unified) > 0)
}

func (c *container) createRuntimeHooks(ctx context.Context, hooks *specs.Hooks, pid int) error {
	if hooks == nil {
		return nil
	}
	// The environment stands, which was called "created" when there were these hooks only.
	//nolint:staticcheck // prestart is deprecated by the specification, and still used
	if err := namespaces.RunHooks(ctx, "prestart", hooks.Prestart, c.hookState(pid, specs.StateCreated)); err != nil {
		return err
	}
	return namespaces.RunHooks(ctx, "createRuntime", hooks.CreateRuntime, c.hookState(pid, specs.StateCreating))
}

// makeFifo makes the fifo at which the process will wait. In a user namespace
// its root is somebody else here, and must be able to read it.
func (c *container) makeFifo(ctx context.Context, spec *specs.Spec) error {
	chapter.Call(ctx, "the gap between create and start has a name, so that another process can end it", "mknodat(AT_FDCWD, %q, S_IFIFO|0600)", c.fifo())
	if err := unix.Mkfifo(c.fifo(), 0o600); err != nil {
		return &os.PathError{Op: "mkfifo", Path: c.fifo(), Err: err}
	}
	uid, gid := hostRoot(spec.Linux.UIDMappings), hostRoot(spec.Linux.GIDMappings)
	if uid == 0 && gid == 0 {
		return nil
	}
	return os.Chown(c.fifo(), uid, gid)
}

// hostRoot is the id outside of the container's id 0.
func hostRoot(mappings []specs.LinuxIDMapping) int {
	for _, m := range mappings {
		if m.ContainerID == 0 {
			return int(m.HostID)
		}
	}
	return 0
}

// openConsoleSocket connects to the socket that receives the terminal.
func openConsoleSocket(path string, terminal bool) (*os.File, error) {
	switch {
	case terminal && path == "":
		return nil, fmt.Errorf("cannot allocate tty if runtime will detach without setting console socket: %w", errdefs.ErrInvalidArgument)
	case !terminal && path != "":
		return nil, fmt.Errorf("cannot use console socket if runtime will not detach or allocate tty: %w", errdefs.ErrInvalidArgument)
	case !terminal:
		return nil, nil
	}
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("--console-socket: %w", err)
	}
	defer conn.Close()
	return conn.File()
}

// sendPidfd sends a descriptor of the process to whoever listens at the socket:
// unlike a process id it can't come to mean another one.
func sendPidfd(path string, pid int) error {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return fmt.Errorf("--pidfd-socket: %w", err)
	}
	defer conn.Close()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	defer unix.Close(fd)
	if _, _, err := conn.WriteMsgUnix([]byte("pidfd"), unix.UnixRights(fd), nil); err != nil {
		return fmt.Errorf("--pidfd-socket: %w", err)
	}
	return nil
}

// writePidFile writes a process id for whoever waits for the file to appear.
func writePidFile(path string, pid int) error {
	tmp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path))
	if err := os.WriteFile(tmp, []byte(strconv.Itoa(pid)), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
