//go:build linux

package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"
)

// env prints the environment, or runs a command with a changed one.
func env(args []string) error {
	for len(args) > 0 && strings.Contains(args[0], "=") {
		key, value, _ := strings.Cut(args[0], "=")
		os.Setenv(key, value)
		args = args[1:]
	}
	if len(args) == 0 {
		for _, e := range os.Environ() {
			fmt.Println(e)
		}
		return nil
	}
	path, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	return &os.PathError{Op: "exec", Path: path, Err: unix.Exec(path, args, os.Environ())}
}

// inputs calls do for each named file, or for standard input.
func inputs(names []string, do func(name string, r io.Reader) error) error {
	if len(names) == 0 {
		return do("", os.Stdin)
	}
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		err = do(name, f)
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func grep(args []string) error {
	flags := flag.NewFlagSet("grep", flag.ContinueOnError)
	invert := flags.Bool("v", false, "the lines that do not match")
	ignoreCase := flags.Bool("i", false, "upper and lower case are the same")
	quiet := flags.Bool("q", false, "print nothing: only the status tells")
	if err := flags.Parse(args); err != nil || flags.NArg() == 0 {
		return errors.New("usage: grep [-i] [-q] [-v] PATTERN [FILE...]")
	}
	pattern := flags.Arg(0)
	if *ignoreCase {
		pattern = "(?i)" + pattern
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return err
	}
	found := false
	err = inputs(flags.Args()[1:], func(name string, r io.Reader) error {
		lines := bufio.NewScanner(r)
		for lines.Scan() {
			if re.MatchString(lines.Text()) == *invert {
				continue
			}
			found = true
			if *quiet {
				continue
			}
			if flags.NArg() > 2 {
				fmt.Print(name, ":")
			}
			fmt.Println(lines.Text())
		}
		return lines.Err()
	})
	if err == nil && !found {
		return status(1)
	}
	return err
}

func head(args []string) error {
	flags := flag.NewFlagSet("head", flag.ContinueOnError)
	n := flags.Int("n", 10, "how many lines")
	if err := flags.Parse(args); err != nil {
		return status(2)
	}
	return inputs(flags.Args(), func(_ string, r io.Reader) error {
		lines := bufio.NewScanner(r)
		for i := 0; i < *n && lines.Scan(); i++ {
			fmt.Println(lines.Text())
		}
		return lines.Err()
	})
}

func wc(args []string) error {
	flags := flag.NewFlagSet("wc", flag.ContinueOnError)
	onlyLines := flags.Bool("l", false, "lines only")
	onlyBytes := flags.Bool("c", false, "bytes only")
	if err := flags.Parse(args); err != nil {
		return status(2)
	}
	return inputs(flags.Args(), func(name string, r io.Reader) error {
		b, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		lines := strings.Count(string(b), "\n")
		switch {
		case *onlyLines:
			fmt.Print(lines)
		case *onlyBytes:
			fmt.Print(len(b))
		default:
			fmt.Print(lines, " ", len(strings.Fields(string(b))), " ", len(b))
		}
		fmt.Println(strings.TrimRight(" "+name, " "))
		return nil
	})
}

func hostname([]string) error {
	name, err := os.Hostname()
	if err == nil {
		fmt.Println(name)
	}
	return err
}

func id([]string) error {
	groups, err := os.Getgroups()
	if err != nil {
		return err
	}
	fmt.Printf("uid=%d gid=%d groups=%s\n", os.Getuid(), os.Getgid(), strings.Trim(strings.ReplaceAll(fmt.Sprint(groups), " ", ","), "[]"))
	return nil
}

// mount prints what is mounted; what would change that is for outside.
func mount(args []string) error {
	if len(args) > 0 {
		return errors.New("box only lists what is mounted")
	}
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		fmt.Printf("%s on %s type %s (%s)\n", f[0], f[1], f[2], f[3])
	}
	return nil
}

func ps([]string) error {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return err
	}
	var pids []int
	for _, dir := range dirs {
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PID\tUID\tCOMMAND")
	for _, pid := range pids {
		dir := fmt.Sprintf("/proc/%d", pid)
		var st unix.Stat_t
		if unix.Stat(dir, &st) != nil {
			continue // it has ended since
		}
		line, _ := os.ReadFile(dir + "/cmdline")
		command := strings.TrimSpace(strings.ReplaceAll(string(line), "\x00", " "))
		if command == "" {
			comm, _ := os.ReadFile(dir + "/comm")
			command = "[" + strings.TrimSpace(string(comm)) + "]"
		}
		fmt.Fprintf(w, "%d\t%d\t%s\n", pid, st.Uid, command)
	}
	return w.Flush()
}

func sleep(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: sleep SECONDS")
	}
	if args[0] == "infinity" {
		select {}
	}
	d, err := time.ParseDuration(args[0])
	if err != nil {
		d, err = time.ParseDuration(args[0] + "s")
	}
	if err != nil || d < 0 {
		return fmt.Errorf("%q is no number of seconds", args[0])
	}
	time.Sleep(d)
	return nil
}

func uname(args []string) error {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return os.NewSyscallError("uname", err)
	}
	part := func(b [65]byte) string { return unix.ByteSliceToString(b[:]) }
	switch strings.Join(args, " ") {
	case "":
		fmt.Println(part(u.Sysname))
	case "-a":
		fmt.Println(part(u.Sysname), part(u.Nodename), part(u.Release), part(u.Version), part(u.Machine))
	case "-r":
		fmt.Println(part(u.Release))
	case "-m":
		fmt.Println(part(u.Machine))
	case "-n":
		fmt.Println(part(u.Nodename))
	default:
		return errors.New("usage: uname [-a|-m|-n|-r]")
	}
	return nil
}

func yes(args []string) error {
	line := strings.Join(args, " ")
	if line == "" {
		line = "y"
	}
	w := bufio.NewWriter(os.Stdout)
	for {
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
}

// httpd serves a directory: something to publish a port of.
func httpd(args []string) error {
	flags := flag.NewFlagSet("httpd", flag.ContinueOnError)
	port := flags.Int("p", 80, "the `port` to listen at")
	root := flags.String("h", "/www", "the `directory` to serve")
	if err := flags.Parse(args); err != nil {
		return status(2)
	}
	server := &http.Server{Addr: fmt.Sprintf(":%d", *port), Handler: http.FileServer(http.Dir(*root)), ReadHeaderTimeout: 10 * time.Second}
	return server.ListenAndServe()
}

// wget prints what an HTTP server answers.
func wget(args []string) error {
	if len(args) == 0 {
		return errors.New("usage: wget URL")
	}
	client := http.Client{Timeout: 30 * time.Second}
	resp, err := client.Get(args[len(args)-1])
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 400 {
		return errors.New(resp.Status)
	}
	_, err = io.Copy(os.Stdout, resp.Body)
	return err
}
