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
//	probe orphan     says what becomes of an orphan that ends: reaped, or a zombie
//	probe catch      says which signal it gets, and ends with status 9
//	probe leave PATH leaves all its groups, then reads a file, and prints both
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	_ "drydock.example/02-namespaces" // it can be made a container's init
)

func main() {
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
		case "orphan":
			fmt.Println(orphan())
			return
		case "middle":
			if err := middle(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			return
		case "catch":
			signals := make(chan os.Signal, 1)
			signal.Notify(signals, syscall.SIGTERM)
			fmt.Println("waiting")
			fmt.Println(<-signals)
			os.Exit(9)
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

// orphan has a child start a further one and end, and says what becomes of the
// grandchild, process 1's child now, when it ends.
func orphan() (string, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return "", err
	}
	middle := exec.Command("/proc/self/exe", "middle")
	middle.Stdin, middle.Stderr = r, os.Stderr
	out, err := middle.Output()
	if err != nil {
		return "", err
	}
	pid, err := strconv.Atoi(string(out))
	if err != nil {
		return "", err
	}
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return "", err
	}
	w.Close() // now it ends
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, -1)
		if err == nil {
			break
		}
		if err != unix.EINTR {
			return "", err
		}
	}
	if os.Getpid() == 1 {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err == nil && strings.Contains(string(b), "zombie") {
			return "zombie", nil // nobody else can wait for it
		}
		return "", fmt.Errorf("not a zombie: %w", err)
	}
	// No event tells that a process has been waited for.
	for unix.Kill(pid, 0) == nil {
		time.Sleep(time.Millisecond)
	}
	return "reaped", nil
}

// middle starts the orphan, with its own standard input, and prints its number.
func middle() error {
	child, err := os.StartProcess("/proc/self/exe", []string{"probe", "wait"}, &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stderr, os.Stderr}})
	if err != nil {
		return err
	}
	fmt.Print(child.Pid)
	return nil
}
