//go:build linux

// Hello says, step by step, what has just happened to run it. What it says of
// this container it reads from the kernel, here and now.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	fmt.Println("Hello from Drydock. To print this:")
	for i, step := range []string{
		"The client, drydock, asked the daemon over its socket to create a container of the image \"hello\".",
		"The daemon, drydockd, found the image in its store. Had it not been there, it would have been pulled\n    from a registry: manifest, config, then the layers, each checked against its digest.",
		"The daemon made a directory for what this container writes, and " + network() + ".",
		"The shim, drydock-shim, mounted the image's layers as one file system" + root() + ". It holds\n    this program's output and exit status, whatever becomes of the daemon.",
		"The runtime, drydock-runtime, cloned a process into new namespaces (" + namespaces() + "),\n    placed it in a cgroup, changed its root, and took from it " + capabilities() + ".",
		fmt.Sprintf("The kernel executed this program. It is process %d of its own process table, on the host %q, which\n    exists nowhere else. From the container's making to this line it took %s.", os.Getpid(), hostname(), age()),
	} {
		fmt.Printf("%2d. %s\n", i+1, step)
	}
	fmt.Println("\nTo look around in a container, run: drydock run -it --rm box\nTo see each of the kernel operations: drydock run --explain hello")
}

// namespaces lists the namespaces of this process by their inode numbers: the
// host has others, as ls -l /proc/self/ns shows there.
func namespaces() string {
	var list []string
	for _, kind := range []string{"mnt", "uts", "ipc", "pid", "net", "cgroup"} {
		if link, err := os.Readlink("/proc/self/ns/" + kind); err == nil {
			list = append(list, strings.ReplaceAll(strings.Trim(link, "]"), ":[", " "))
		}
	}
	return strings.Join(list, ", ")
}

// network tells which links there are.
func network() string {
	routes, err := os.ReadFile("/proc/net/route")
	if err != nil || strings.Count(string(routes), "\n") < 2 {
		return "gave it no network but its own loopback"
	}
	name, _, _ := strings.Cut(strings.Split(string(routes), "\n")[1], "\t")
	return "plugged a virtual cable into it: its end in here is " + name
}

// root tells what / is.
func root() string {
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if len(f) > 8 && f[4] == "/" {
			_, after, _ := strings.Cut(line, " - ")
			return " (" + strings.Fields(after)[0] + ")"
		}
	}
	return ""
}

// capabilities tells how many of the kernel's capabilities are gone.
func capabilities() string {
	status, _ := os.ReadFile("/proc/self/status")
	var have uint64
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "CapEff:"); ok {
			fmt.Sscanf(strings.TrimSpace(rest), "%x", &have)
		}
	}
	last, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		return "all privileges that it does not need"
	}
	all := 0
	fmt.Sscan(string(last), &all)
	kept := 0
	for n := range all + 1 {
		if have&(1<<n) != 0 {
			kept++
		}
	}
	return fmt.Sprintf("%d of root's %d capabilities", all+1-kept, all+1)
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return runtime.GOOS
	}
	return name
}

// age is the time since the daemon wrote this container's /etc/hostname, which
// is one of the first things that it does to make one.
func age() string {
	var st unix.Stat_t
	if err := unix.Stat("/etc/hostname", &st); err != nil {
		return "a moment"
	}
	return time.Since(time.Unix(st.Mtim.Unix())).Round(time.Millisecond).String()
}
