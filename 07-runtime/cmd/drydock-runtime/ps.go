//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// ps takes further arguments for ps(1). Without any the table is made here, in
// the form of ps -ef.
func ps(ctx context.Context, g *global, args []string) error {
	fs := options("ps")
	var format string
	fs.StringVar(&format, "format", "table", "table or json")
	fs.StringVar(&format, "f", "table", "table or json")
	rest, err := parseFirst(fs, args, "<container-id> [ps options]", 1)
	if err != nil {
		return err
	}
	if format != "json" && format != "table" {
		return errFormat
	}
	pids, err := g.Processes(rest[0])
	switch {
	case err != nil:
		return err
	case format == "json":
		return json.NewEncoder(os.Stdout).Encode(pids)
	case len(rest) > 1:
		return filterPs(ctx, rest[1:], pids)
	}
	w := tabwriter.NewWriter(os.Stdout, 8, 1, 3, ' ', 0)
	fmt.Fprintln(w, "UID\tPID\tPPID\tC\tSTIME\tTTY\tTIME\tCMD")
	users, boot := userNames(), bootTime()
	for _, pid := range pids {
		if p, err := readProcess(pid); err == nil {
			fmt.Fprintln(w, p.row(users, boot))
		}
	}
	return w.Flush()
}

var errFormat = errors.New("invalid format option")

// filterPs shows what ps(1) says of the processes.
func filterPs(ctx context.Context, args []string, pids []int) error {
	out, err := exec.CommandContext(ctx, "ps", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ps %s: %w: %s", strings.Join(args, " "), err, out)
	}
	lines := strings.Split(strings.TrimRight(string(out), "\n"), "\n")
	column := slices.Index(strings.Fields(lines[0]), "PID")
	if column < 0 {
		return errors.New("couldn't find PID field in ps output")
	}
	fmt.Println(lines[0])
	for _, line := range lines[1:] {
		fields := strings.Fields(line)
		if column >= len(fields) {
			continue
		}
		pid, err := strconv.Atoi(fields[column])
		if err != nil {
			return fmt.Errorf("ps: pid %q: %w", fields[column], err)
		}
		if slices.Contains(pids, pid) {
			fmt.Println(line)
		}
	}
	return nil
}

// process is what ps -ef shows of one: proc_pid_stat(5).
type process struct {
	pid         int
	parent, uid string
	tty         int
	cpu         time.Duration // used so far
	started     time.Duration // since boot
	command     string
}

// tick is the unit of times in /proc: USER_HZ is 100 on every architecture that Go runs on.
const tick = time.Second / 100

func readProcess(pid int) (process, error) {
	dir := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return process{}, err
	}
	// The name, in parentheses, may hold anything.
	name, rest := strings.IndexByte(string(stat), '('), strings.LastIndexByte(string(stat), ')')
	f := strings.Fields(string(stat[rest+1:]))
	if len(f) < 20 {
		return process{}, fmt.Errorf("%s/stat: %d fields", dir, len(f))
	}
	number := func(i int) int64 { n, _ := strconv.ParseInt(f[i], 10, 64); return n }
	p := process{
		pid: pid, parent: f[1], tty: int(number(4)), uid: "?",
		cpu: time.Duration(number(11)+number(12)) * tick, started: time.Duration(number(19)) * tick,
		command: "[" + string(stat[name+1:rest]) + "]",
	}
	if b, _ := os.ReadFile(dir + "/cmdline"); len(b) > 0 {
		p.command = strings.TrimSpace(strings.ReplaceAll(string(b), "\x00", " "))
	}
	status, err := os.ReadFile(dir + "/status")
	for line := range strings.Lines(string(status)) {
		if ids, ok := strings.CutPrefix(line, "Uid:"); ok {
			p.uid = strings.Fields(ids)[1] // the effective one
		}
	}
	return p, err
}

func (p process) row(users map[string]string, boot time.Time) string {
	user, ok := users[p.uid]
	if !ok {
		user = p.uid
	}
	started, now := boot.Add(p.started), time.Now()
	share := 0
	if age := now.Sub(started); age > 0 {
		share = int(100 * p.cpu / age)
	}
	when := started.Format("15:04")
	if started.YearDay() != now.YearDay() || started.Year() != now.Year() {
		when = started.Format("Jan02")
	}
	seconds := int(p.cpu.Seconds())
	used := fmt.Sprintf("%02d:%02d:%02d", seconds/3600, seconds/60%60, seconds%60)
	return fmt.Sprintf("%s\t%d\t%s\t%d\t%s\t%s\t%s\t%s", user, p.pid, p.parent, share, when, terminal(p.tty), used, p.command)
}

// terminal names a device number: pseudoterminals have the majors 136 to 143
// (devices.txt), everything else is rare.
func terminal(device int) string {
	major, minor := device>>8&0xfff, device&0xff|device>>12&0xfff00
	switch {
	case major >= 136 && major < 144:
		return fmt.Sprintf("pts/%d", (major-136)<<8|minor)
	case major == 4 && minor < 64:
		return fmt.Sprintf("tty%d", minor)
	}
	return "?"
}

// bootTime is where the start times of processes count from.
func bootTime() time.Time {
	b, _ := os.ReadFile("/proc/stat")
	for line := range strings.Lines(string(b)) {
		if s, ok := strings.CutPrefix(line, "btime "); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
			return time.Unix(n, 0)
		}
	}
	return time.Time{}
}

// userNames maps the host's user ids to names (passwd(5)).
func userNames() map[string]string {
	names := map[string]string{}
	b, _ := os.ReadFile("/etc/passwd")
	for line := range strings.Lines(string(b)) {
		if f := strings.Split(line, ":"); len(f) > 2 && names[f[2]] == "" {
			names[f[2]] = f[0]
		}
	}
	return names
}
