//go:build linux

// Command program is what the containers of the tests run: one small static
// program that does what its first argument says.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

func main() {
	verb, args := os.Args[1], os.Args[2:]
	switch verb {
	case "echo":
		fmt.Println(strings.Join(args, " "))
	case "both": // to standard output and standard error
		fmt.Fprintln(os.Stdout, "to stdout")
		fmt.Fprintln(os.Stderr, "to stderr")
	case "exit":
		os.Exit(number(args[0]))
	case "lines": // N numbered lines
		w := bufio.NewWriter(os.Stdout)
		for i := range number(args[0]) {
			fmt.Fprintf(w, "line %d of %s\n", i+1, args[0])
		}
		w.Flush()
	case "write": // N bytes without a newline
		io.CopyN(os.Stdout, endless{}, int64(number(args[0])))
	case "cat":
		io.Copy(os.Stdout, os.Stdin)
	case "signals": // names the signals that come, until SIGTERM
		c := make(chan os.Signal, 8)
		signal.Notify(c, unix.SIGTERM, unix.SIGUSR1, unix.SIGHUP, unix.SIGINT)
		fmt.Println("ready")
		for s := range c {
			fmt.Println(unix.SignalName(s.(syscall.Signal)))
			if s == unix.SIGTERM {
				os.Exit(7)
			}
		}
	case "sizes": // the terminal's size, now and at each change, until it is 1x1
		c := make(chan os.Signal, 8)
		signal.Notify(c, unix.SIGWINCH)
		for {
			w, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
			if err != nil {
				fmt.Println("no terminal:", err)
				os.Exit(1)
			}
			fmt.Printf("%dx%d\n", w.Col, w.Row)
			if w.Col == 1 {
				return
			}
			<-c
		}
	case "kill": // ends by a signal of its own
		signal.Reset()
		unix.Kill(os.Getpid(), unix.Signal(number(args[0])))
		select {}
	case "leave": // a child that holds the output and outlives its parent
		c := exec.Command("/proc/self/exe", "sleep")
		c.Stdout = os.Stdout
		if err := c.Start(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("left", c.Process.Pid)
	case "sleep": // until SIGUSR2
		c := make(chan os.Signal, 1)
		signal.Notify(c, unix.SIGUSR2)
		<-c
	case "write-file":
		if err := os.WriteFile(args[0], []byte(args[1]), 0o644); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	case "read-file":
		b, err := os.ReadFile(args[0])
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Stdout.Write(b)
	case "hook": // appends its name and the state that it was given to a file
		var state struct {
			ID, Status string
			Pid        int
		}
		if err := json.NewDecoder(os.Stdin).Decode(&state); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		f, err := os.OpenFile(args[0], os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		host, _ := os.Hostname()
		fmt.Fprintf(f, "%s %s %s %v %s\n", args[1], state.ID, state.Status, state.Pid != 0, host)
	case "eat-when-told", "eat": // memory, without end; when told: by SIGUSR2
		if verb != "eat" {
			c := make(chan os.Signal, 1)
			signal.Notify(c, unix.SIGUSR2)
			<-c
		}
		for all := [][]byte{}; ; {
			b := make([]byte, 1<<20)
			for i := range b {
				b[i] = 1
			}
			all = append(all, b)
		}
	case "mode": // of a directory
		var st unix.Stat_t
		if err := unix.Stat(args[0], &st); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Printf("%o\n", st.Mode&0o7777)
	case "env":
		for _, e := range os.Environ() {
			fmt.Println(e)
		}
	case "fds": // the open descriptors, but the one that lists them
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		for _, e := range entries {
			if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && !strings.HasPrefix(to, "anon_inode:") {
				fmt.Println(e.Name())
			}
		}
	case "whoami": // ids, groups, working directory
		groups, _ := os.Getgroups()
		cwd, _ := os.Getwd()
		fmt.Println(os.Getuid(), os.Getgid(), groups, cwd)
	case "scheduling": // the scheduling and the personality of this process
		attr, err := unix.SchedGetAttr(0, 0)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		io, _, _ := unix.Syscall(unix.SYS_IOPRIO_GET, 1, 0, 0)
		persona, _, _ := unix.Syscall(unix.SYS_PERSONALITY, 0xffffffff, 0, 0)
		fmt.Printf("policy %d nice %d io %d/%d personality %#x\n", attr.Policy, attr.Nice, io>>13, io&0x1fff, persona)
	case "keyring": // the name of the session keyring
		description, err := unix.KeyctlString(unix.KEYCTL_DESCRIBE, unix.KEY_SPEC_SESSION_KEYRING)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(description[strings.LastIndexByte(description, ';')+1:])
	case "mount-proc": // a new procfs, in new user, PID and mount namespaces
		c := exec.Command("/proc/self/exe", "mount-proc-here")
		c.Stdout = os.Stdout
		c.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{Size: 1}},
		}
		if err := c.Run(); err != nil {
			fmt.Println(err)
		}
	case "mount-proc-here":
		fmt.Println("mount:", unix.Mount("proc", "/tmp", "proc", 0, ""))
	case "unshare": // makes itself a UTS namespace
		if err := unix.Unshare(unix.CLONE_NEWUTS); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	case "notify": // says that it is ready, and sleeps
		c, err := net.Dial("unixgram", os.Getenv("NOTIFY_SOCKET"))
		if err == nil {
			_, err = c.Write([]byte("STATUS=soon"))
		}
		if err == nil {
			_, err = c.Write([]byte("READY=1\n"))
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		signal.Notify(make(chan os.Signal, 1), unix.SIGUSR2)
		select {}
	case "rewrite": // the programs of all processes that come, until SIGUSR2
		c := make(chan os.Signal, 1)
		signal.Notify(c, unix.SIGUSR2)
		opened, written := rewrite(c)
		fmt.Println("opened", opened, "written", written)
	case "links": // the links, each with its addresses, and "up"
		links := map[string][]string{}
		list, _ := net.Interfaces()
		for _, l := range list {
			links[l.Name] = append(links[l.Name], strings.Split(l.Flags.String(), "|")[0], strconv.Itoa(l.MTU))
			addresses, _ := l.Addrs()
			for _, a := range addresses {
				links[l.Name] = append(links[l.Name], a.String())
			}
		}
		json.NewEncoder(os.Stdout).Encode(links)
	case "link": // where a symbolic link leads
		to, err := os.Readlink(args[0])
		fmt.Println(to, err)
	default:
		fmt.Fprintf(os.Stderr, "verb %q is not known\n", verb)
		os.Exit(2)
	}
}

// rewrite opens the program of every other process that it finds, and, when the
// process is gone and its file no longer busy, that file again, to write it.
func rewrite(stop <-chan os.Signal) (opened, written int) {
	held := map[string]*os.File{}
	fmt.Println("ready")
	for {
		select {
		case <-stop:
			for _, f := range held {
				w, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), os.O_WRONLY|os.O_APPEND, 0)
				if err == nil {
					_, err = w.WriteString("#")
				}
				if err == nil {
					written++
				}
			}
			return len(held), written
		default:
		}
		entries, _ := os.ReadDir("/proc")
		for _, e := range entries {
			if _, err := strconv.Atoi(e.Name()); err != nil || e.Name() == strconv.Itoa(os.Getpid()) || held[e.Name()] != nil {
				continue
			}
			if f, err := os.Open("/proc/" + e.Name() + "/exe"); err == nil {
				held[e.Name()] = f
			}
		}
	}
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	return n
}

type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}
