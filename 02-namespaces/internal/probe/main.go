//go:build linux

// Probe is what the tests run inside a container: it says what it sees.
//
//	probe            its view, as JSON
//	probe exit N     ends with status N
//	probe write PATH writes a file and prints the error, if any
//	probe owner PATH prints the file's owner and group
//	probe wait       ends when its standard input does
//	probe read PATH  prints what a file holds, or the error
//	probe call N A…  makes system call N and prints the error, if any
//	probe leave PATH leaves all its groups, then reads a file, and prints both
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	namespaces "drydock.example/02-namespaces"
)

func main() {
	namespaces.Init()
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "exit":
			n, _ := strconv.Atoi(os.Args[2])
			os.Exit(n)
		case "write":
			fmt.Println(os.WriteFile(os.Args[2], []byte("x"), 0o644))
			return
		case "owner":
			var st unix.Stat_t
			if err := unix.Stat(os.Args[2], &st); err != nil {
				fmt.Println(err)
			}
			fmt.Printf("%d:%d\n", st.Uid, st.Gid)
			return
		case "read":
			fmt.Println(read(os.Args[2]))
			return
		case "leave":
			fmt.Println("setgroups:", syscall.Setgroups(nil))
			fmt.Println(read(os.Args[2]))
			return
		case "call":
			var n [7]uintptr
			for i, arg := range os.Args[2:] {
				v, _ := strconv.ParseUint(arg, 0, 64)
				n[i] = uintptr(v)
			}
			_, _, errno := unix.Syscall6(n[0], n[1], n[2], n[3], n[4], n[5], n[6])
			fmt.Println(unix.ErrnoName(errno))
			return
		case "wait":
			fmt.Println("waiting")
			io.Copy(io.Discard, os.Stdin)
			return
		}
	}
	view := map[string]any{"pid": os.Getpid(), "ppid": os.Getppid(), "uid": os.Getuid(), "gid": os.Getgid(), "env": os.Environ(), "args": os.Args}
	view["hostname"], _ = os.Hostname()
	view["cwd"], _ = os.Getwd()
	view["groups"], _ = os.Getgroups()
	view["session"], _ = unix.Getsid(0)
	ns := map[string]string{}
	links, _ := filepath.Glob("/proc/self/ns/*")
	for _, l := range links {
		ns[filepath.Base(l)], _ = os.Readlink(l)
	}
	view["namespaces"] = ns
	for _, file := range []string{"mountinfo", "status", "uid_map", "cgroup", "oom_score_adj", "limits"} {
		b, _ := os.ReadFile("/proc/self/" + file)
		view[file] = string(b)
	}
	var fds []string
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && !strings.HasPrefix(to, "/proc/") && !strings.HasPrefix(to, "anon_inode:") {
			fds = append(fds, e.Name())
		}
	}
	view["fds"] = fds
	var root []string
	entries, _ = os.ReadDir("/")
	for _, e := range entries {
		root = append(root, e.Name())
	}
	view["root"] = root
	json.NewEncoder(os.Stdout).Encode(view)
}

func read(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
