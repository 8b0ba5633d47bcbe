//go:build linux

package oci_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/godbus/dbus/v5"
	"github.com/opencontainers/runtime-spec/specs-go"

	"drydock.example/01-chroot/hosttest"
	cgroups "drydock.example/03-cgroups"
	"drydock.example/07-runtime/oci/systemd"
)

const systemdManager = "org.freedesktop.systemd1.Manager"

// manager is a systemd with the calls that a runtime makes. It makes cgroups as
// the real one does, below the test's own, and remembers what it was asked.
type manager struct {
	t    *testing.T
	conn *dbus.Conn

	mu     sync.Mutex
	calls  []string
	units  map[string]string // name → cgroup
	last   map[string]any    // the properties that came last
	result string            // of the next job
	exists bool              // the next unit's name is taken, until it is reset
}

// startManager runs a message bus with a manager on it, as the user's and the
// system's.
func startManager(t *testing.T) *manager {
	t.Helper()
	hosttest.Require(t, hosttest.Root, hosttest.Program("dbus-daemon"))
	dir := t.TempDir()
	config := filepath.Join(dir, "bus.conf")
	if err := os.WriteFile(config, []byte(fmt.Sprintf(`<busconfig><listen>unix:path=%s/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>`, dir)), 0o644); err != nil {
		t.Fatal(err)
	}
	daemon := exec.Command("dbus-daemon", "--config-file="+config, "--nofork", "--print-address")
	out, err := daemon.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { daemon.Process.Kill(); daemon.Wait() })
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	address = strings.TrimSpace(address)
	conn, err := dbus.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	m := &manager{t: t, conn: conn, units: map[string]string{}, result: "done"}
	for iface, v := range map[string]any{systemdManager: m, "org.freedesktop.DBus.Properties": properties{}} {
		if err := conn.Export(v, "/org/freedesktop/systemd1", iface); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.RequestName("org.freedesktop.systemd1", 0); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("/run/systemd/system", 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll("/run/systemd") })
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", address)
	t.Setenv("XDG_RUNTIME_DIR", dir)
	return m
}

// properties answers for the manager's own cgroup: that of the tests.
type properties struct{}

func (properties) Get(_, name string) (dbus.Variant, *dbus.Error) {
	if name != "ControlGroup" {
		return dbus.Variant{}, dbus.NewError("org.freedesktop.DBus.Error.UnknownProperty", nil)
	}
	return dbus.MakeVariant(hosttest.Cgroup()), nil
}

func (m *manager) note(call string, list []systemd.Property) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls = append(m.calls, call)
	if list != nil {
		m.last = map[string]any{}
		for _, p := range list {
			m.last[p.Name] = p.Value.Value()
		}
	}
}

func (m *manager) said() ([]string, map[string]any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	calls := m.calls
	m.calls = nil
	return calls, m.last
}

// end ends the job, before its call is answered: a runtime must be ready for it.
func (m *manager) end(unit string) dbus.ObjectPath {
	m.mu.Lock()
	defer m.mu.Unlock()
	job := dbus.ObjectPath("/org/freedesktop/systemd1/job/7")
	m.conn.Emit("/org/freedesktop/systemd1", systemdManager+".JobRemoved", uint32(6), dbus.ObjectPath("/org/freedesktop/systemd1/job/6"), "other.service", "failed")
	m.conn.Emit("/org/freedesktop/systemd1", systemdManager+".JobRemoved", uint32(7), job, unit, m.result)
	return job
}

type auxiliary struct {
	Name       string
	Properties []systemd.Property
}

func (m *manager) StartTransientUnit(name, mode string, list []systemd.Property, _ []auxiliary) (dbus.ObjectPath, *dbus.Error) {
	m.note("StartTransientUnit "+name+" "+mode, list)
	_, p := func() ([]string, map[string]any) { m.mu.Lock(); defer m.mu.Unlock(); return nil, m.last }()
	if m.exists {
		return "", dbus.NewError("org.freedesktop.systemd1.UnitExists", []any{"it exists"})
	}
	slice, _ := p["Slice"].(string)
	cgroup := hosttest.Cgroup()
	for prefix := ""; ; {
		part, rest, more := strings.Cut(strings.TrimSuffix(slice, ".slice"), "-")
		prefix += part
		cgroup += "/" + prefix + ".slice"
		prefix += "-"
		if slice = rest; !more {
			break
		}
	}
	cgroup += "/" + name
	g, err := cgroups.Create(context.Background(), cgroup, nil)
	for _, pid := range p["PIDs"].([]uint32) {
		if err == nil {
			err = g.Enter(context.Background(), int(pid))
		}
	}
	if err != nil {
		return "", dbus.MakeFailedError(err)
	}
	m.units[name] = cgroup
	return m.end(name), nil
}

func (m *manager) StopUnit(name, _ string) (dbus.ObjectPath, *dbus.Error) {
	m.note("StopUnit "+name, nil)
	cgroup := m.units[name]
	delete(m.units, name)
	// With the last unit its slices go.
	for ; cgroup != "" && cgroup != hosttest.Cgroup(); cgroup = filepath.Dir(cgroup) {
		if err := cgroups.RemoveEmpty(context.Background(), cgroup); err != nil && !os.IsNotExist(err) {
			m.t.Log(err)
		}
	}
	return m.end(name), nil
}

func (m *manager) SetUnitProperties(name string, _ bool, list []systemd.Property) *dbus.Error {
	m.note("SetUnitProperties "+name, list)
	return nil
}

func (m *manager) ResetFailedUnit(name string) *dbus.Error {
	m.note("ResetFailedUnit "+name, nil)
	if _, ok := m.units[name]; !ok && !m.exists {
		return dbus.NewError("org.freedesktop.systemd1.NoSuchUnit", []any{"no unit"})
	}
	m.exists = false
	return nil
}

func (m *manager) Subscribe() *dbus.Error { return nil }

// systemdBundle is a bundle whose cgroup the manager makes.
func systemdBundle(t *testing.T) *bundle {
	b := newBundle(t, "sleep")
	b.spec.Linux.CgroupsPath = "lab-test.slice:dock:" + b.id
	b.spec.Linux.Resources = &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: new(int64(64 << 20))}, Pids: &specs.LinuxPids{Limit: new(int64(50))},
		CPU: &specs.LinuxCPU{Quota: new(int64(25_000)), Period: new(uint64(50_000))},
	}
	b.spec.Annotations = map[string]string{"org.systemd.property.TimeoutStopSec": "uint64 3", "org.systemd.property.CollectMode": "'inactive-or-failed'"}
	return b
}

var asUser = []string{"--systemd-cgroup", "--rootless=true"}

func TestSystemdMakesTheCgroup(t *testing.T) {
	m := startManager(t)
	b := systemdBundle(t)
	unit := "dock-" + b.id + ".scope"
	b.must(append(asUser, "create", b.id)...)
	pid := b.state().Pid
	calls, p := m.said()
	if want := []string{"StartTransientUnit " + unit + " replace"}; !slices.Equal(calls, want) {
		t.Errorf("calls %q, want %q", calls, want)
	}
	for name, want := range map[string]any{
		"Slice": "lab-test.slice", "Delegate": true, "DefaultDependencies": false, "PIDs": []uint32{uint32(pid)},
		"TasksMax": uint64(50), "CPUQuotaPerSecUSec": uint64(500_000), "CPUQuotaPeriodUSec": uint64(50_000),
		"TimeoutStopUSec": uint64(3_000_000), "CollectMode": "inactive-or-failed",
	} {
		if !reflect.DeepEqual(p[name], want) {
			t.Errorf("property %s: %v, want %v", name, p[name], want)
		}
	}
	if n := map[bool]any{true: p["MemoryMax"], false: p["MemoryLimit"]}[hosttest.CgroupV2() == nil]; n != uint64(64<<20) {
		t.Errorf("memory limit %v", n)
	}
	cgroup := hosttest.Cgroup() + "/lab.slice/lab-test.slice/" + unit
	of, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil || !strings.Contains(string(of), "/lab.slice/lab-test.slice/"+unit+"\n") {
		t.Errorf("the process is in %s, %v", of, err)
	}
	g, err := cgroups.Load(cgroup)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := g.Stats(); err != nil || s.Memory.Limit != 64<<20 || s.Pids.Limit != 50 {
		t.Errorf("limits of the cgroup: %d bytes, %d tasks, %v", s.Memory.Limit, s.Pids.Limit, err)
	}

	b.must("start", b.id)
	b.must("update", "--pids-limit", "60", "--memory", "128m", b.id)
	calls, p = m.said()
	if want := []string{"SetUnitProperties " + unit}; !slices.Equal(calls, want) || p["TasksMax"] != uint64(60) {
		t.Errorf("update: calls %q, TasksMax %v", calls, p["TasksMax"])
	}
	if s, _ := g.Stats(); s.Pids.Limit != 60 || s.Memory.Limit != 128<<20 {
		t.Errorf("after update: %d bytes, %d tasks", s.Memory.Limit, s.Pids.Limit)
	}
	b.must("pause", b.id)
	b.must("resume", b.id)
	b.must("delete", "--force", b.id)
	if calls, _ := m.said(); !slices.Equal(calls, []string{"StopUnit " + unit, "ResetFailedUnit " + unit}) {
		t.Errorf("delete: calls %q", calls)
	}
	if _, err := cgroups.Load(cgroup); err == nil {
		t.Error("the cgroup is left")
	}
}

func TestSystemdWithAUnitOfThatNameThatFailed(t *testing.T) {
	m := startManager(t)
	m.exists = true
	b := systemdBundle(t)
	b.must(append(asUser, "create", b.id)...)
	unit := "dock-" + b.id + ".scope"
	want := []string{"StartTransientUnit " + unit + " replace", "ResetFailedUnit " + unit, "StartTransientUnit " + unit + " replace"}
	if calls, _ := m.said(); !slices.Equal(calls, want) {
		t.Errorf("calls %q, want %q", calls, want)
	}
}

func TestSystemdRefuses(t *testing.T) {
	b := systemdBundle(t)
	b.refuses("systemd not running on this host, cannot use systemd cgroups manager", append(asUser, "create", b.id)...)
	m := startManager(t)
	m.result = "failed"
	b.refuses(`the job ended with "failed": see systemctl status dock-`+b.id+".scope", append(asUser, "create", b.id)...)
	m.result = "done"
	for path, words := range map[string]string{
		"/docker/x":         `expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got "/docker/x" instead`,
		"a--b.slice:dock:x": `slice "a--b.slice": nothing stands between two dashes`,
		"lab:dock:x":        `slice "lab": want a name that ends in .slice`,
		"lab.slice:a/b:x":   "a unit's name has no slash",
	} {
		b.spec.Linux.CgroupsPath = path
		b.refuses(words, append(asUser, "create", b.id)...)
	}
	b.spec.Linux.CgroupsPath = ""
	b.spec.Annotations = map[string]string{"org.systemd.property.TimeoutStopSec": "soon"}
	b.refuses(`annotation org.systemd.property.TimeoutStopSec: "soon" is not a value as gvariant writes it`, append(asUser, "create", b.id)...)
}
