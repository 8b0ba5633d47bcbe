//go:build linux

package cgroups

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/doctor"
	"drydock.example/03-cgroups/cgroupfs"
)

// Checks returns this chapter's questions to the host.
func Checks() []doctor.Check {
	return []doctor.Check{
		{Chapter: 3, Name: "cgroups", For: "limits, and killing all processes of a container", Run: func(context.Context) doctor.Result { return modeFound(Detect()) }},
		{Chapter: 3, Name: "controllers", For: "limits on memory, CPU, tasks, CPUs and I/O", Run: func(context.Context) doctor.Result { return controllersFound(readHost()) }},
		{Chapter: 3, Name: "a new cgroup", For: "limits, and killing all processes of a container", Run: tryCgroup},
		{Chapter: 3, Name: "swap limit", For: "a limit on what a container may move to swap", Run: func(context.Context) doctor.Result { return swapFound(readHost()) }},
		{Chapter: 3, Name: "pressure", For: "how long a container waits for CPU, memory and I/O (PSI)", Run: func(context.Context) doctor.Result {
			_, err := os.ReadFile("/proc/pressure/memory")
			return pressureFound(err)
		}},
	}
}

func modeFound(m Mode, err error) doctor.Result {
	switch {
	case err != nil:
		return doctor.Result{
			Status: doctor.Missing, Found: err.Error(),
			Why:  "a cgroup is a directory of a file system that must be mounted",
			Cure: []string{"sudo mount -t cgroup2 cgroup2 /sys/fs/cgroup"},
		}
	case m == V2:
		return doctor.Fine("v2")
	}
	return doctor.Result{
		Status: doctor.Limited, Found: m.String() + ": the controllers are on v1",
		Breaks: "what only v2 has: memory.high, PSI of a container, eBPF device rules, limits without root; parts of chapter 3 cannot be typed here",
		Why:    "the host was booted with v1, as distributions did before 2021; a container works with both",
		Cure: []string{"sudo grubby --update-kernel=ALL --args=systemd.unified_cgroup_hierarchy=1    # Fedora, RHEL; then reboot",
			"add systemd.unified_cgroup_hierarchy=1 to GRUB_CMDLINE_LINUX in /etc/default/grub, sudo update-grub, reboot    # Debian, Ubuntu",
			"add kernelCommandLine = cgroup_no_v1=all to [wsl2] in .wslconfig, wsl --shutdown    # WSL 2"},
	}
}

// host is what the kernel says of its controllers.
type host struct {
	mode    Mode
	own     string          // this process's cgroup v2 directory; "" on v1
	user    int             // effective
	here    map[string]bool // controllers to be had: delegated to own, or mounted
	builtIn map[string]bool // /proc/cgroups: name → enabled
	swap    bool            // swap is counted
}

func readHost() (h host, err error) {
	mounts, m, err := detect()
	if err != nil {
		return h, err
	}
	h = host{mode: m, user: os.Geteuid(), here: map[string]bool{}, builtIn: map[string]bool{}}
	b, err := os.ReadFile("/proc/cgroups")
	if err != nil {
		return h, err
	}
	h.builtIn = builtIn(string(b))
	if m != V2 {
		for _, hierarchy := range mounts.V1 {
			for _, c := range hierarchy.Controllers {
				h.here[c] = true
			}
			if slices.Contains(hierarchy.Controllers, "memory") {
				_, err := os.Stat(filepath.Join(hierarchy.Dir, "memory.memsw.limit_in_bytes"))
				h.swap = err == nil
			}
		}
		return h, nil
	}
	own, err := cgroupfs.Own("")
	if err != nil {
		return h, err
	}
	// Root takes any place in the tree; others have what was delegated to them.
	if h.own = mounts.V2.Dir; h.user != 0 {
		h.own = filepath.Join(mounts.V2.Dir, strings.TrimPrefix(own, mounts.V2.Root))
	}
	b, err = os.ReadFile(filepath.Join(h.own, "cgroup.controllers"))
	if err != nil {
		return h, err
	}
	for _, c := range strings.Fields(string(b)) {
		h.here[c] = true
	}
	// Where there is swap, v2 counts it.
	_, err = os.Stat("/proc/swaps")
	h.swap = err == nil
	return h, nil
}

// builtIn reads /proc/cgroups (cgroups(7)): name, hierarchy, number, enabled. A
// controller that is not listed was not built into the kernel.
func builtIn(file string) map[string]bool {
	m := map[string]bool{}
	for line := range strings.Lines(file) {
		if f := strings.Fields(line); len(f) == 4 && !strings.HasPrefix(line, "#") {
			m[f[0]] = f[3] == "1"
		}
	}
	return m
}

// v1Name is a v2 controller's name in v1 and in /proc/cgroups.
func v1Name(controller string) string {
	if controller == "io" {
		return "blkio"
	}
	return controller
}

// controllersFound wants memory, cpu and pids, and likes cpuset and io.
func controllersFound(h host, err error) doctor.Result {
	if err != nil {
		return doctor.Result{Status: doctor.Unknown, Found: err.Error()}
	}
	r := doctor.Result{}
	var has, lacks, reasons []string
	for _, c := range []string{"memory", "cpu", "pids", "cpuset", "io"} {
		name := c
		if h.mode != V2 {
			name = v1Name(c)
		}
		if h.here[name] {
			has = append(has, name)
			continue
		}
		lacks = append(lacks, name)
		enabled, known := h.builtIn[v1Name(c)]
		switch {
		case !known && h.mode != V2:
			reasons = append(reasons, name+" is not built into this kernel")
			r.Cure = append(r.Cure, "use a distribution's kernel")
		// /proc/cgroups of newer kernels lists v1's controllers alone.
		case known && !enabled:
			reasons = append(reasons, name+" was switched off when the kernel was booted")
			r.Cure = append(r.Cure, bootParameter(c)...)
		case h.mode == V2 && h.user != 0:
			reasons = append(reasons, name+" is not delegated to this user")
			r.Cure = append(r.Cure, "sudo systemctl edit user@.service    # and write: [Service], then Delegate=cpu cpuset io memory pids; then log in again")
		case h.mode == V2:
			reasons = append(reasons, name+" is on a v1 hierarchy, or was switched off when the kernel was booted")
			r.Cure = append(r.Cure, "grep "+v1Name(c)+" /proc/self/mountinfo    # and umount that hierarchy")
			r.Cure = append(r.Cure, bootParameter(c)...)
		default:
			reasons = append(reasons, name+" is not mounted")
			dir := "/sys/fs/cgroup/" + name
			r.Cure = append(r.Cure, fmt.Sprintf("sudo mkdir %s && sudo mount -t cgroup -o %s cgroup %s", dir, name, dir))
		}
	}
	if len(lacks) == 0 {
		return doctor.Fine("%s", strings.Join(has, " "))
	}
	slices.Sort(r.Cure)
	r.Cure = slices.Compact(r.Cure)
	r.Status = doctor.Limited
	r.Found = "no " + strings.Join(lacks, ", no ")
	r.Breaks = "limits on " + strings.Join(lacks, ", ")
	r.Why = strings.Join(reasons, "; ")
	return r
}

// bootParameter says how a controller is switched on. Raspberry Pi OS and some
// Debian kernels for small machines boot without the memory controller.
func bootParameter(controller string) []string {
	if controller != "memory" {
		return []string{"cat /proc/cmdline    # and remove cgroup_disable=" + v1Name(controller) + " from the boot loader's configuration"}
	}
	return []string{
		"append cgroup_enable=memory to the one line of /boot/firmware/cmdline.txt, and reboot    # Raspberry Pi",
		"add cgroup_enable=memory to GRUB_CMDLINE_LINUX in /etc/default/grub, sudo update-grub, reboot    # Debian",
	}
}

// tryCgroup makes a cgroup and removes it.
func tryCgroup(ctx context.Context) doctor.Result {
	if h, err := readHost(); os.Geteuid() != 0 && (err != nil || h.mode != V2) {
		return doctor.NeedsRoot()
	} else if os.Geteuid() != 0 {
		return delegatedFound(h.own, unix.Access(filepath.Join(h.own, "cgroup.subtree_control"), unix.W_OK))
	}
	c, err := Create(ctx, fmt.Sprintf("/drydock-doctor-%d", os.Getpid()), nil)
	if err == nil {
		err = c.Delete(ctx)
	}
	return createdFound(err)
}

func createdFound(err error) doctor.Result {
	if err == nil {
		return doctor.Fine("made, and removed")
	}
	r := doctor.Result{
		Status: doctor.Missing, Found: err.Error(),
		Why:  "see the kernel's word above",
		Cure: []string{"cat /proc/self/cgroup /proc/self/mountinfo    # where this process is, and what is mounted"},
	}
	switch {
	case errors.Is(err, unix.EROFS):
		r.Why = "/sys/fs/cgroup is mounted read-only, as in a container"
		r.Cure = []string{"docker run --privileged --cgroupns=private …    # when this is the inside of a container; or work on the host"}
	case errors.Is(err, unix.EBUSY):
		r.Why = "the root cgroup of this container has processes of its own, and cgroup v2 gives a cgroup either processes or children with controllers"
		r.Cure = []string{"mkdir /sys/fs/cgroup/init && for p in $(cat /sys/fs/cgroup/cgroup.procs); do echo $p > /sys/fs/cgroup/init/cgroup.procs; done"}
	}
	return r
}

// delegatedFound is the answer for an ordinary user on v2, who may write where
// systemd has let him.
func delegatedFound(dir string, err error) doctor.Result {
	if err == nil {
		return doctor.Fine("%s is this user's", dir)
	}
	return doctor.Result{
		Status: doctor.Limited, Found: dir + ": " + err.Error(), Breaks: "limits without root",
		Why:  "no part of the tree is delegated to this user here",
		Cure: []string{"systemd-run --user --scope -p Delegate=yes sh    # a shell in a cgroup that is"},
	}
}

func swapFound(h host, err error) doctor.Result {
	switch {
	case err != nil:
		return doctor.Result{Status: doctor.Unknown, Found: err.Error()}
	case h.swap:
		return doctor.Fine("counted")
	}
	return doctor.Result{
		Status: doctor.Limited, Found: "not counted", Breaks: "--memory-swap: a container under a memory limit may go on into all swap that there is",
		Why:  "the kernel was built without CONFIG_SWAP, or booted without swapaccount=1 (v1)",
		Cure: []string{"add swapaccount=1 to the kernel's command line    # v1; v2 always counts", "sudo swapoff -a    # no swap, nothing to limit"},
	}
}

func pressureFound(err error) doctor.Result {
	if err == nil {
		return doctor.Fine("measured")
	}
	why := "the kernel was built without CONFIG_PSI"
	if errors.Is(err, unix.EOPNOTSUPP) {
		why = "the kernel was built with CONFIG_PSI_DEFAULT_DISABLED"
	}
	return doctor.Result{
		Status: doctor.Limited, Found: err.Error(), Breaks: "the pressure columns of limit stat and drydock stats",
		Why:  why,
		Cure: []string{"add psi=1 to the kernel's command line, and reboot"},
	}
}
