//go:build linux

package systemd

import (
	"context"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/godbus/dbus/v5"

	"drydock.example/01-chroot/explain"
)

const chapter explain.Chapter = 7

// jobTime is how long systemd may take to make or end a unit.
const jobTime = 30 * time.Second

// A Unit is a container's scope, or slice.
type Unit struct {
	Name  string `json:"name"`           // ends in .scope or .slice
	Slice string `json:"slice"`          // the slice it is in
	User  bool   `json:"user,omitempty"` // of the user's own systemd, not of the system's
}

// Parse reads a config's cgroupsPath as the systemd driver has it,
// "slice:prefix:name". Empty is id in the default slice.
func Parse(cgroupsPath, id string, user bool) (Unit, error) {
	slice, prefix, name := "", "drydock", id
	if cgroupsPath != "" {
		parts := strings.Split(cgroupsPath, ":")
		if len(parts) != 3 || parts[2] == "" {
			return Unit{}, fmt.Errorf("expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got %q instead: %w", cgroupsPath, errdefs.ErrInvalidArgument)
		}
		slice, prefix, name = parts[0], parts[1], parts[2]
	}
	if slice == "" {
		slice = "system.slice"
		if user {
			slice = "user.slice"
		}
	}
	u := Unit{Name: name, Slice: slice, User: user}
	if !strings.HasSuffix(name, ".slice") {
		if prefix != "" {
			u.Name = prefix + "-" + name
		}
		u.Name += ".scope"
	}
	if strings.Contains(u.Name+u.Slice, "/") {
		return Unit{}, fmt.Errorf("cgroupsPath %q: a unit's name has no slash: %w", cgroupsPath, errdefs.ErrInvalidArgument)
	}
	if _, err := expand(slice); err != nil {
		return Unit{}, fmt.Errorf("cgroupsPath %q: %w", cgroupsPath, err)
	}
	return u, nil
}

// expand returns the cgroup of a slice: each dash in its name is one level, so
// that a-b.slice is a.slice/a-b.slice (systemd.slice(5)).
func expand(slice string) (string, error) {
	name, ok := strings.CutSuffix(slice, ".slice")
	if !ok || name == "" {
		return "", fmt.Errorf("slice %q: want a name that ends in .slice: %w", slice, errdefs.ErrInvalidArgument)
	}
	if name == "-" {
		return "/", nil // the root slice
	}
	at, prefix := "/", ""
	for part := range strings.SplitSeq(name, "-") {
		if part == "" {
			return "", fmt.Errorf("slice %q: nothing stands between two dashes: %w", slice, errdefs.ErrInvalidArgument)
		}
		prefix += part
		at = path.Join(at, prefix+".slice")
		prefix += "-"
	}
	return at, nil
}

// Cgroup returns the unit's cgroup, a path below the root of each hierarchy.
func (u Unit) Cgroup(ctx context.Context) (string, error) {
	root := "/"
	if u.User {
		// The user's systemd has a cgroup of its own, which was delegated to it.
		m, err := connect(ctx, true)
		if err != nil {
			return "", err
		}
		defer m.close()
		v, err := m.object.GetProperty(manager + ".ControlGroup")
		if err != nil {
			return "", fmt.Errorf("ask systemd for its cgroup: %w", err)
		}
		root, _ = v.Value().(string)
	}
	slice, err := expand(u.Slice)
	return path.Join("/", root, slice, u.Name), err
}

// Start has systemd make the unit with a process in it, and returns when it has.
func (u Unit) Start(ctx context.Context, pid int, properties []Property) error {
	m, err := connect(ctx, u.User)
	if err != nil {
		return err
	}
	defer m.close()
	base := []Property{
		{"Description", dbus.MakeVariant("container " + u.Name)},
		{"DefaultDependencies", dbus.MakeVariant(false)}, // it is not to wait for other units, at start or shutdown
		{"MemoryAccounting", dbus.MakeVariant(true)}, {"CPUAccounting", dbus.MakeVariant(true)},
		{"IOAccounting", dbus.MakeVariant(true)}, {"TasksAccounting", dbus.MakeVariant(true)},
	}
	if strings.HasSuffix(u.Name, ".slice") {
		base = append(base, Property{"Wants", dbus.MakeVariant([]string{u.Slice})})
	} else {
		base = append(base,
			Property{"Slice", dbus.MakeVariant(u.Slice)},
			Property{"Delegate", dbus.MakeVariant(true)}, // what is below is the container's
			Property{"PIDs", dbus.MakeVariant([]uint32{uint32(pid)})})
	}
	type auxiliary struct {
		Name       string
		Properties []Property
	}
	start := func() error {
		return m.job(u.Name, "StartTransientUnit", u.Name, "replace", append(base, properties...), []auxiliary{})
	}
	chapter.Call(ctx, "systemd owns the cgroups here: it is asked for one", "StartTransientUnit(%q, \"replace\", PIDs=[%d])", u.Name, pid)
	err = start()
	if isError(err, "org.freedesktop.systemd1.UnitExists") {
		// One that failed stays until somebody has looked at it.
		if err := m.call("ResetFailedUnit", u.Name); err != nil {
			return err
		}
		err = start()
	}
	return err
}

// Set changes the unit's properties while it runs.
func (u Unit) Set(ctx context.Context, properties []Property) error {
	if len(properties) == 0 {
		return nil
	}
	m, err := connect(ctx, u.User)
	if err != nil {
		return err
	}
	defer m.close()
	chapter.Call(ctx, "systemd is told too, or it would set the old limits again", "SetUnitProperties(%q, true, /* %d properties */)", u.Name, len(properties))
	return m.call("SetUnitProperties", u.Name, true, properties)
}

// Stop ends the unit. One that is gone already is no error.
func (u Unit) Stop(ctx context.Context) error {
	m, err := connect(ctx, u.User)
	if err != nil {
		return err
	}
	defer m.close()
	chapter.Call(ctx, "the unit ends with the container", "StopUnit(%q, \"replace\")", u.Name)
	const gone = "org.freedesktop.systemd1.NoSuchUnit"
	if err := m.job(u.Name, "StopUnit", u.Name, "replace"); err != nil && !isError(err, gone) {
		return err
	}
	// Else a unit whose program failed would stay, and with it its name.
	if err := m.call("ResetFailedUnit", u.Name); err != nil && !isError(err, gone) {
		return err
	}
	return nil
}
