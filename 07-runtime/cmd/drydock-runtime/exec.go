//go:build linux

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"drydock.example/07-runtime/oci"
)

// execFailed is the status of an exec that did not come to run the program.
const execFailed = 255

// words are the values of an option that may be given several times.
type words []string

func (w *words) String() string { return strings.Join(*w, ",") }

func (w *words) Set(s string) error {
	*w = append(*w, s)
	return nil
}

// changes are the options of exec that change the config's process.
type changes struct {
	file, cwd, user, apparmor, label string
	tty, noNewPrivs                  bool
	env, caps, gids                  words
}

func execute(ctx context.Context, g *global, args []string) error {
	fs := options("exec")
	var opt oci.ExecOptions
	var c changes
	for _, o := range []struct {
		into  *string
		about string
		names []string
	}{
		{&c.file, "file with the process in JSON", []string{"process", "p"}},
		{&c.cwd, "working directory, as seen inside", []string{"cwd"}},
		{&c.user, "uid[:gid]", []string{"user", "u"}},
		{&c.label, "SELinux label", []string{"process-label"}},
		{&c.apparmor, "AppArmor profile", []string{"apparmor"}},
		{&opt.ConsoleSocket, "Unix socket that receives the terminal's master", []string{"console-socket"}},
		{&opt.PidFile, "file that receives the process id", []string{"pid-file"}},
		{&opt.PidfdSocket, "Unix socket that receives a pidfd of the process", []string{"pidfd-socket"}},
	} {
		for _, n := range o.names {
			fs.StringVar(o.into, n, "", o.about)
		}
	}
	for _, n := range []string{"env", "e"} {
		fs.Var(&c.env, n, "further variable NAME=value")
	}
	for _, n := range []string{"cap", "c"} {
		fs.Var(&c.caps, n, "further capability")
	}
	for _, n := range []string{"additional-gids", "g"} {
		fs.Var(&c.gids, n, "further group")
	}
	for _, n := range []string{"tty", "t"} {
		fs.BoolVar(&c.tty, n, false, "give it a terminal")
	}
	for _, n := range []string{"detach", "d"} {
		fs.BoolVar(&opt.Detach, n, false, "return when the program runs")
	}
	fs.Var((*words)(&opt.Cgroups), "cgroup", "path of a cgroup below the container's; on v1 also controllers:path, once for each")
	fs.BoolVar(&c.noNewPrivs, "no-new-privs", false, "it gains no privileges by set-user-ID programs")
	fs.BoolVar(&opt.IgnorePaused, "ignore-paused", false, "also in a paused container")
	fs.IntVar(&opt.PreserveFDs, "preserve-fds", 0, "how many further descriptors the program gets")
	fs.Bool("no-subreaper", false, "accepted for runc's sake")
	rest, err := parseFirst(fs, args, "<container-id> <command> [arguments]", 1)
	if err != nil {
		return err
	}
	opt.ListenFDs = listenFDs()
	status := 0
	if len(rest) == 1 && c.file == "" {
		err = errors.New("process args cannot be empty")
	} else if err = checkInherited(opt.ListenFDs, opt.PreserveFDs); err == nil {
		status, err = g.Exec(ctx, rest[0], func(p *specs.Process) error { return c.apply(p, rest[1:]) }, opt)
	}
	if err != nil {
		g.log.error(fmt.Errorf("exec failed: %w", err))
		return exitStatus(execFailed)
	}
	if status != 0 {
		return exitStatus(status)
	}
	return nil
}

// apply makes the config's process the one to run.
func (c *changes) apply(p *specs.Process, args []string) error {
	if c.file != "" {
		b, err := os.ReadFile(c.file)
		if err != nil {
			return err
		}
		*p = specs.Process{}
		if err := json.Unmarshal(b, p); err != nil {
			return fmt.Errorf("%s: %w", c.file, err)
		}
		return nil
	}
	p.Args, p.Terminal, p.Env = args, c.tty, append(p.Env, c.env...)
	p.Cwd = cmp.Or(c.cwd, p.Cwd)
	p.ApparmorProfile = cmp.Or(c.apparmor, p.ApparmorProfile)
	p.SelinuxLabel = cmp.Or(c.label, p.SelinuxLabel)
	if c.noNewPrivs {
		p.NoNewPrivileges = true
	}
	if len(c.caps) > 0 {
		if p.Capabilities == nil {
			p.Capabilities = &specs.LinuxCapabilities{}
		}
		for _, set := range []*[]string{&p.Capabilities.Bounding, &p.Capabilities.Effective, &p.Capabilities.Permitted, &p.Capabilities.Ambient} {
			*set = append(*set, c.caps...)
		}
	}
	if c.user != "" {
		user, group, _ := strings.Cut(c.user, ":")
		for field, text := range map[*uint32]string{&p.User.UID: user, &p.User.GID: group} {
			if text == "" {
				continue
			}
			n, err := strconv.ParseUint(text, 10, 32)
			if err != nil {
				return fmt.Errorf("parsing %s as int for uid failed: %w", text, err)
			}
			*field = uint32(n)
		}
	}
	for _, text := range c.gids {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return fmt.Errorf("parsing %s as int for gid failed: %w", text, err)
		}
		p.User.AdditionalGids = append(p.User.AdditionalGids, uint32(n))
	}
	return nil
}
