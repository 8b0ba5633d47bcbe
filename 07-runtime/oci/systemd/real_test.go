//go:build linux

package systemd_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/opencontainers/runtime-spec/specs-go"

	"drydock.example/01-chroot/hosttest"
	"drydock.example/07-runtime/bundletest"
	"drydock.example/07-runtime/oci/systemd"
)

// real is this machine's own systemd, and a runtime that asks it for scopes. It
// knows the host's cgroups alone: these tests run outside hosttest's namespaces.
type real struct {
	t            *testing.T
	bus          *dbus.Conn
	program, dir string
	id, unit     string
	spec         *specs.Spec
}

func newReal(t *testing.T, args ...string) *real {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("requires root")
	}
	if !systemd.Running() {
		t.Skip("requires systemd as process 1 (there is no /run/systemd/system)")
	}
	hosttest.Require(t, hosttest.CgroupV2)
	bus, err := dbus.ConnectSystemBus()
	if err != nil {
		t.Skipf("requires the system's message bus: %v", err)
	}
	t.Cleanup(func() { bus.Close() })
	r := &real{t: t, bus: bus, program: bundletest.Build(t, "cmd/drydock-runtime"), dir: t.TempDir(), id: strconv.Itoa(os.Getpid()) + "-" + t.Name()}
	r.unit = "drydocktest-" + r.id + ".scope"
	bundletest.Rootfs(t, filepath.Join(r.dir, "rootfs"))
	r.spec = bundletest.Spec("system.slice:drydocktest:"+r.id, args...)
	t.Cleanup(func() { r.runtime("delete", "--force", r.id) })
	return r
}

// runtime runs the runtime and returns what it said.
func (r *real) runtime(args ...string) (string, error) {
	r.t.Helper()
	bundletest.Write(r.t, r.dir, r.spec)
	c := exec.Command(r.program, append([]string{"--root", filepath.Join(r.dir, "state"), "--systemd-cgroup"}, args...)...)
	c.Dir = r.dir
	// A file, not a pipe: the container holds its streams beyond the runtime's end.
	said, err := os.Create(filepath.Join(r.dir, "said"))
	if err != nil {
		r.t.Fatal(err)
	}
	defer said.Close()
	c.Stdout, c.Stderr = said, said
	err = c.Run()
	text, _ := os.ReadFile(said.Name())
	return string(text), err
}

func (r *real) must(args ...string) {
	r.t.Helper()
	if out, err := r.runtime(args...); err != nil {
		r.t.Fatalf("%v: %v: %s", args, err, out)
	}
}

func (r *real) manager() dbus.BusObject {
	return r.bus.Object("org.freedesktop.systemd1", "/org/freedesktop/systemd1")
}

// property reads one of the unit's properties over the bus.
func (r *real) property(kind, name string) any {
	r.t.Helper()
	var path dbus.ObjectPath
	if err := r.manager().Call("org.freedesktop.systemd1.Manager.GetUnit", 0, r.unit).Store(&path); err != nil {
		r.t.Fatalf("GetUnit %s: %v", r.unit, err)
	}
	v, err := r.bus.Object("org.freedesktop.systemd1", path).GetProperty("org.freedesktop.systemd1." + kind + "." + name)
	if err != nil {
		r.t.Fatal(err)
	}
	return v.Value()
}

// limits compares the unit's properties, and what the kernel enforces.
func (r *real) limits(when string, properties map[string]any, files map[string]string) {
	r.t.Helper()
	for name, want := range properties {
		if got := r.property("Scope", name); got != want {
			r.t.Errorf("%s: property %s is %v, want %v", when, name, got, want)
		}
	}
	for name, want := range files {
		b, err := os.ReadFile(filepath.Join(r.cgroup(), name))
		if got := strings.TrimSpace(string(b)); err != nil || got != want {
			r.t.Errorf("%s: %s has %q, %v, want %q", when, name, got, err, want)
		}
	}
}

func (r *real) cgroup() string { return filepath.Join("/sys/fs/cgroup/system.slice", r.unit) }

// gone waits until systemd has forgotten the unit, for which it says UnitRemoved.
func (r *real) gone(do func()) {
	r.t.Helper()
	signals := make(chan *dbus.Signal, 64)
	r.bus.Signal(signals)
	defer r.bus.RemoveSignal(signals)
	if err := r.bus.AddMatchSignal(dbus.WithMatchInterface("org.freedesktop.systemd1.Manager"), dbus.WithMatchMember("UnitRemoved")); err != nil {
		r.t.Fatal(err)
	}
	if err := r.manager().Call("org.freedesktop.systemd1.Manager.Subscribe", 0).Err; err != nil {
		r.t.Fatal(err)
	}
	do()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		select {
		case s := <-signals:
			if len(s.Body) == 2 && s.Body[0] == r.unit {
				return
			}
		case <-ctx.Done():
			r.t.Fatalf("systemd still has %s: %v", r.unit, r.property("Unit", "ActiveState"))
		}
	}
}

func TestRealSystemdHoldsTheLimits(t *testing.T) {
	r := newReal(t, "sleep")
	r.spec.Linux.Resources = &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: new(int64(64 << 20)), Swap: new(int64(64 << 20))},
		Pids:   &specs.LinuxPids{Limit: new(int64(50))},
		CPU:    &specs.LinuxCPU{Quota: new(int64(25_000)), Period: new(uint64(50_000)), Shares: new(uint64(512))},
	}
	r.must("run", "--detach", "--pid-file", "pid", r.id)
	pid, err := os.ReadFile(filepath.Join(r.dir, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	if procs, err := os.ReadFile(filepath.Join(r.cgroup(), "cgroup.procs")); err != nil || strings.TrimSpace(string(procs)) != string(pid) {
		t.Errorf("processes of %s: %q, %v, want %s", r.cgroup(), procs, err, pid)
	}
	if state := r.property("Unit", "ActiveState"); state != "active" {
		t.Errorf("the scope is %v, want active", state)
	}
	r.limits("run", map[string]any{
		"Slice": "system.slice", "Delegate": true, "MemoryMax": uint64(64 << 20), "MemorySwapMax": uint64(0), "TasksMax": uint64(50),
		"CPUQuotaPerSecUSec": uint64(500_000), "CPUQuotaPeriodUSec": uint64(50_000), "ControlGroup": "/system.slice/" + r.unit,
	}, map[string]string{"memory.max": "67108864", "memory.swap.max": "0", "pids.max": "50", "cpu.max": "25000 50000"})

	r.must("update", "--memory", "128m", "--memory-swap", "128m", "--pids-limit", "60", r.id)
	// systemd sets what it knows again: it must know the new limits, not the old.
	if err := r.manager().Call("org.freedesktop.systemd1.Manager.Reload", 0).Err; err != nil {
		t.Fatal(err)
	}
	r.limits("update and daemon-reload", map[string]any{"MemoryMax": uint64(128 << 20), "TasksMax": uint64(60), "CPUQuotaPerSecUSec": uint64(500_000)},
		map[string]string{"memory.max": "134217728", "pids.max": "60", "cpu.max": "25000 50000"})

	r.gone(func() { r.must("delete", "--force", r.id) })
	if _, err := os.Stat(r.cgroup()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the cgroup is left: %v", err)
	}
}

// TestRealSystemdAfterAnOOMKill wants nothing left of a scope that failed: one
// of that name can be made again.
func TestRealSystemdAfterAnOOMKill(t *testing.T) {
	r := newReal(t, "eat")
	r.spec.Linux.Resources = &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: new(int64(16 << 20)), Swap: new(int64(16 << 20))}}
	for range 2 {
		if out, err := r.runtime("run", r.id); err == nil {
			t.Errorf("the container ate more than its limit and ended well: %s", out)
		}
	}
	var path dbus.ObjectPath
	if err := r.manager().Call("org.freedesktop.systemd1.Manager.GetUnit", 0, r.unit).Store(&path); err == nil {
		t.Errorf("systemd still has %s: %v", r.unit, r.property("Unit", "ActiveState"))
	}
}
