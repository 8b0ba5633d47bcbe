// Guest is the program in the images of the engine's tests.
package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "guest:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch args[0] {
	case "print": // OUT ERR: one line on each
		fmt.Println(args[1])
		fmt.Fprintln(os.Stderr, args[2])
	case "lines": // N: that many lines
		n, _ := strconv.Atoi(args[1])
		for i := range n {
			fmt.Println("line", i+1)
		}
	case "orphan": // what becomes of a process whose parent ends, and which then ends
		return orphan()
	case "leave": // a child with this one's standard input, whose number it prints
		c := exec.Command("/proc/self/exe", "cat")
		c.Stdin = os.Stdin
		err := c.Start()
		if err == nil {
			fmt.Print(c.Process.Pid)
		}
		return err
	case "exit":
		code, _ := strconv.Atoi(args[1])
		os.Exit(code)
	case "once": // PATH: "first" when PATH is not there, which is made, else "again"
		_, err := os.OpenFile(args[1], os.O_CREATE|os.O_EXCL, 0o600)
		if os.IsExist(err) {
			fmt.Println("again")
			return nil
		}
		fmt.Println("first")
		return err
	case "read":
		b, err := os.ReadFile(args[1])
		os.Stdout.Write(b)
		return err
	case "write": // PATH TEXT
		return os.WriteFile(args[1], []byte(args[2]), 0o644)
	case "cat":
		_, err := io.Copy(os.Stdout, os.Stdin)
		return err
	case "run": // says so, and ends on SIGTERM with 3
		term := make(chan os.Signal, 1)
		signal.Notify(term, syscall.SIGTERM)
		fmt.Println("running")
		<-term
		fmt.Println("terminated")
		os.Exit(3)
	case "stubborn": // does not end on SIGTERM
		signal.Notify(make(chan os.Signal, 1), syscall.SIGTERM)
		fmt.Println("running")
		select {}
	case "wait": // asks for no signal
		fmt.Println("running")
		return unix.Pause()
	case "ticks": // a line for each line on its standard input, for ever
		in := bufio.NewScanner(os.Stdin)
		for in.Scan() {
			fmt.Println("got", in.Text())
		}
		return in.Err()
	case "self": // what it was made to be
		wd, _ := os.Getwd()
		host, _ := os.Hostname()
		groups, _ := os.Getgroups()
		slices.Sort(groups)
		fmt.Println(os.Getpid(), os.Getuid(), os.Getgid(), groups, wd, host, strings.Join(args[1:], "+"))
	case "filter": // what keyctl(2) answers, and what holds the process
		_, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_PROCESS_KEYRING, true)
		filters, noNewPrivs := "", ""
		status, _ := os.ReadFile("/proc/self/status")
		for line := range strings.Lines(string(status)) {
			switch key, value, _ := strings.Cut(line, ":"); key {
			case "Seccomp_filters":
				filters = strings.TrimSpace(value)
			case "NoNewPrivs":
				noNewPrivs = strings.TrimSpace(value)
			}
		}
		fmt.Printf("keyctl: %v, filters %s, no_new_privs %s\n", err, filters, noNewPrivs)
	case "env":
		env := os.Environ()
		slices.Sort(env)
		fmt.Println(strings.Join(env, "\n"))
	case "serve": // PORT: answers "hello" to whoever connects
		l, err := net.Listen("tcp", ":"+args[1])
		if err != nil {
			return err
		}
		fmt.Println("serving")
		for {
			c, err := l.Accept()
			if err != nil {
				return err
			}
			io.WriteString(c, "hello\n")
			c.Close()
		}
	case "dial": // ADDRESS
		c, err := net.DialTimeout("tcp", args[1], 5*time.Second)
		if err != nil {
			return err
		}
		_, err = io.Copy(os.Stdout, c)
		return err
	case "eat": // memory, page by page
		for page := 0; ; page++ {
			b := make([]byte, 1<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			eaten = append(eaten, b)
		}
	default:
		return fmt.Errorf("unknown command %q", args[0])
	}
	return nil
}

var eaten [][]byte

// orphan prints "zombie" or "reaped".
func orphan() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	parent := exec.Command("/proc/self/exe", "leave")
	parent.Stdin = r
	out, err := parent.Output()
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(string(out))
	if err != nil {
		return err
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err
	}
	w.Close() // now it ends
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
		if err == nil {
			break
		}
		if err != unix.EINTR {
			return err
		}
	}
	if os.Getpid() == 1 {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil || !strings.Contains(string(status), "(zombie)") {
			return fmt.Errorf("process %d: %q, %v: want a zombie", pid, status, err)
		}
		fmt.Println("zombie")
		return nil
	}
	// No event tells that a process has been waited for.
	for unix.Kill(pid, 0) == nil {
		time.Sleep(time.Millisecond)
	}
	fmt.Println("reaped")
	return nil
}
