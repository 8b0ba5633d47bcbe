//go:build linux

package oci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// RDTStats names the container's class of service, where it has one.
type RDTStats struct {
	Class string `json:"clos,omitempty"`
}

// rdt is what of Intel RDT belongs to a container: directories of the resctrl
// file system (the kernel's arch/x86/resctrl.rst). A class of service is a
// directory with the tasks that share a part of the caches and of the memory's
// bandwidth, as its schemata say; a monitoring group below it counts for some.
type rdt struct {
	Class   string `json:"class"`             // directory of the class
	Made    bool   `json:"made,omitempty"`    // by us, for this container alone: it goes with it
	Monitor string `json:"monitor,omitempty"` // directory of the monitoring group; "" is none
}

// resctrl returns where the file system is mounted, or "".
func resctrl() string {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if mount, rest, ok := strings.Cut(line, " - "); ok && strings.HasPrefix(rest, "resctrl ") {
			return strings.Fields(mount)[4]
		}
	}
	return ""
}

// checkRDT refuses what is malformed, and all of it where there is no resctrl.
func checkRDT(r *specs.LinuxIntelRdt) error {
	if r == nil {
		return nil
	}
	if strings.Contains(strings.TrimPrefix(r.ClosID, "/"), "/") || r.ClosID == "." || r.ClosID == ".." {
		return wrong("linux.intelRdt.closID", r.ClosID, "a name, or / for the default class")
	}
	if r.MemBwSchema != "" && !strings.HasPrefix(r.MemBwSchema, "MB:") {
		return wrong("linux.intelRdt.memBwSchema", r.MemBwSchema, "a line that begins with MB:")
	}
	for _, line := range schemata(r) {
		if strings.Contains(line, "\n") {
			return wrong("linux.intelRdt", line, "one line for each schema")
		}
	}
	if resctrl() == "" {
		return fmt.Errorf("linux.intelRdt: intelRdt is specified in config, but Intel RDT is not supported or enabled")
	}
	return nil
}

// schemata are the lines to write, in the order that the specification wants.
func schemata(r *specs.LinuxIntelRdt) []string {
	var lines []string
	for _, line := range append([]string{r.L3CacheSchema, r.MemBwSchema}, r.Schemata...) {
		if line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// joinRDT puts a process into its class, below the mount point root, and into a
// monitoring group where one is asked for. On an error nothing is left.
func joinRDT(ctx context.Context, root, id string, r *specs.LinuxIntelRdt, pid int) (_ *rdt, err error) {
	name, lines := r.ClosID, schemata(r)
	own := name == ""
	if own {
		name = id
	}
	c := &rdt{Class: filepath.Join(root, name)}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("linux.intelRdt: %w", err), c.leave(ctx))
		}
	}()
	created := false
	switch _, err := os.Stat(c.Class); {
	case err == nil && !own:
		if err := sameSchemata(filepath.Join(c.Class, "schemata"), lines); err != nil {
			return nil, err
		}
		lines = nil
	case err == nil:
	case !own && len(lines) == 0:
		return nil, fmt.Errorf("closID %q: no such class, and no schemata to make it with: %w", name, errdefs.ErrNotFound)
	default:
		chapter.Call(ctx, "a class of service: its tasks share a part of the caches", "mkdirat(AT_FDCWD, %q, 0755)", c.Class)
		if err := os.Mkdir(c.Class, 0o755); errors.Is(err, unix.ENOSPC) {
			return nil, fmt.Errorf("the processor has no more classes: give a closID that exists: %w", err)
		} else if err != nil {
			return nil, err
		}
		created = true
	}
	c.Made = own && created
	for _, line := range lines {
		if err := c.write(ctx, filepath.Join(c.Class, "schemata"), line, "its part"); err != nil {
			return nil, errors.Join(err, c.unmake(created))
		}
	}
	if err := c.write(ctx, filepath.Join(c.Class, "tasks"), strconv.Itoa(pid), "the process and its children"); err != nil {
		return nil, errors.Join(err, c.unmake(created))
	}
	if r.EnableMonitoring {
		group := filepath.Join(c.Class, "mon_groups", id)
		chapter.Call(ctx, "a group that is counted for itself", "mkdirat(AT_FDCWD, %q, 0755)", group)
		if err := os.Mkdir(group, 0o755); err != nil {
			return nil, errors.Join(err, c.unmake(created))
		}
		c.Monitor = group
		if err := c.write(ctx, filepath.Join(group, "tasks"), strconv.Itoa(pid), "the process is counted there"); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// unmake removes a class that this invocation has made under a name that others
// may use.
func (c *rdt) unmake(created bool) error {
	if !created || c.Made {
		return nil // leave does it
	}
	return os.Remove(c.Class)
}

// sameSchemata compares the lines that are asked for with those of a class that
// others use: it is not ours to change.
func sameSchemata(file string, lines []string) error {
	if len(lines) == 0 {
		return nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var have []string
	for line := range bytes.Lines(b) {
		have = append(have, strings.TrimSpace(string(line)))
	}
	for _, line := range lines {
		if !slices.Contains(have, strings.TrimSpace(line)) {
			return fmt.Errorf("%s has %q, and not %q: want the same, or another closID: %w", file, strings.Join(have, " "), line, errdefs.ErrFailedPrecondition)
		}
	}
	return nil
}

func (c *rdt) write(ctx context.Context, file, text, why string) error {
	chapter.Call(ctx, why, "write(%q, %q)", file, text)
	if err := os.WriteFile(file, []byte(text+"\n"), 0o644); err != nil {
		return fmt.Errorf("write %q to %s: %w", text, file, err)
	}
	return nil
}

// set changes the schemata of a class that is the container's own.
func (c *rdt) set(ctx context.Context, r *specs.LinuxIntelRdt) error {
	for _, line := range schemata(r) {
		if err := c.write(ctx, filepath.Join(c.Class, "schemata"), line, "its part"); err != nil {
			return err
		}
	}
	return nil
}

// leave removes what was made for the container. Its tasks are gone, or fall
// back to the default class.
func (c *rdt) leave(ctx context.Context) error {
	if c == nil {
		return nil
	}
	var errs []error
	for _, dir := range []string{c.Monitor, map[bool]string{true: c.Class}[c.Made]} {
		if dir == "" {
			continue
		}
		chapter.Call(ctx, "the processor has few of them", "rmdir(%q)", dir)
		if err := unix.Rmdir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, &os.PathError{Op: "rmdir", Path: dir, Err: err})
		}
	}
	return errors.Join(errs...)
}
