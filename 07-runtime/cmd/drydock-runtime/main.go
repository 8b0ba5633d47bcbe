//go:build linux

// Command drydock-runtime is an OCI runtime with runc's command line: it makes
// a container of a bundle and takes it through its life.
//
// Its start counts, because several of it run for each container. So it imports
// little; what it does is in package oci, and here is one file per command.
//
//go:debug containermaxprocs=0
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"drydock.example/01-chroot/explain"
	"drydock.example/07-runtime/oci"
)

const version = "0.1.0"

// name is what the program was called by. Under another one, of a link named
// runc for example, it answers to that.
var name = filepath.Base(os.Args[0])

// global are the options before the command.
type global struct {
	oci.Runtime
	log complaints
}

// command is one subcommand.
type command struct {
	name, about string
	run         func(ctx context.Context, g *global, args []string) error
}

func commands() []command {
	return []command{
		{"checkpoint", "not supported", notSupported("checkpoint")},
		{"create", "create a container", create},
		{"delete", "delete a container and all that belongs to it", remove},
		{"events", "show a container's statistics and when its memory runs out", events},
		{"exec", "run one more program in a container", execute},
		{"features", "show what this runtime supports", features},
		{"kill", "send a signal to a container (default: SIGTERM)", kill},
		{"list", "list the containers below --root", list},
		{"pause", "stop all processes of a container where they are", pause},
		{"ps", "list the processes of a container", ps},
		{"restore", "not supported", notSupported("restore")},
		{"resume", "let the processes of a paused container go on", resume},
		{"run", "create and run a container", run},
		{"spec", "write a config.json to start from", spec},
		{"start", "execute the program of a created container", start},
		{"state", "show the state of a container", state},
		{"update", "change a container's limits", update},
	}
}

// exitStatus is the error of a command whose program ended with another status
// than 0. There is nothing to complain of.
type exitStatus int

// unknownCommand is runc's status for that.
const unknownCommand exitStatus = 3

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

func main() {
	g := &global{}
	err := g.main(os.Args[1:])
	var status exitStatus
	switch {
	case err == nil:
	case errors.As(err, &status):
		os.Exit(int(status))
	case errors.Is(err, flag.ErrHelp):
	default:
		g.log.error(err)
		os.Exit(1)
	}
}

func (g *global) main(args []string) error {
	var verbose, showVersion, narrate bool
	var rootless string
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&g.Root, "root", defaultRoot(), "directory that keeps the containers' state")
	fs.StringVar(&g.log.path, "log", "", "file for errors, beside standard error")
	fs.StringVar(&g.log.format, "log-format", "text", "text or json")
	fs.BoolVar(&verbose, "debug", false, "write each kernel call to the log")
	fs.BoolVar(&narrate, "explain", false, "show each kernel call and why it is made")
	fs.BoolVar(&g.Systemd, "systemd-cgroup", false, "have systemd make the cgroups")
	fs.StringVar(&rootless, "rootless", "auto", "true: do without cgroups where they cannot be had; false, or auto: when this user is not root")
	fs.BoolVar(&showVersion, "version", false, "print the version")
	fs.BoolVar(&showVersion, "v", false, "print the version")
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		usage(os.Stdout, fs)
		return nil
	case err != nil:
		return err
	case showVersion:
		fmt.Printf("%s version %s\ncommit: %s\nspec: %s\ngo: %s\n", name, version, commit(), specs.Version, runtime.Version())
		return nil
	case g.log.format != "text" && g.log.format != "json":
		return fmt.Errorf("invalid log-format: %q: want text or json", g.log.format)
	case fs.NArg() == 0, fs.Arg(0) == "help" && fs.NArg() == 1:
		usage(os.Stdout, fs)
		return nil
	}
	command, args := fs.Arg(0), fs.Args()[1:]
	if command == "help" {
		command, args = args[0], []string{"-h"}
	}
	if g.Rootless = ordinary(); rootless != "auto" {
		var err error
		if g.Rootless, err = strconv.ParseBool(rootless); err != nil {
			return fmt.Errorf("--rootless %q: want true, false or auto", rootless)
		}
	}
	g.Warn = g.log.warning
	ctx, _ := explain.FromEnv(context.Background())
	if narrate {
		ctx = explain.With(ctx, explain.Text(os.Stderr))
	} else if verbose {
		ctx = explain.With(ctx, debugHandler{&g.log, command == "exec"})
	}
	for _, c := range commands() {
		if c.name == command {
			return c.run(ctx, g, args)
		}
	}
	g.log.error(fmt.Errorf("No help topic for '%s': see %s help", command, name)) //nolint:staticcheck // runc's words
	return unknownCommand
}

// commit is the one that the program was built from.
func commit() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return "unknown"
}

// defaultRoot is where the state is kept until the machine ends; an ordinary
// user has a directory of that kind too (XDG base directory specification).
func defaultRoot() string {
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" && ordinary() {
		return filepath.Join(dir, "drydock-runtime")
	}
	return "/run/drydock-runtime"
}

// ordinary says whether this is an ordinary user's, also where he is root in a
// user namespace, as rootless podman is.
func ordinary() bool {
	if os.Geteuid() != 0 {
		return true
	}
	ids, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && strings.Join(strings.Fields(string(ids)), " ") != "0 0 4294967295"
}

func usage(w io.Writer, fs *flag.FlagSet) {
	fmt.Fprintf(w, "NAME:\n   %s - Open Container Initiative runtime: makes containers of OCI bundles\n\nUSAGE:\n   %s [options] command [options] [arguments]\n\nCOMMANDS:\n", name, name)
	for _, c := range commands() {
		fmt.Fprintf(w, "   %-10s %s\n", c.name, c.about)
	}
	fmt.Fprintln(w, "\nOPTIONS:")
	fs.SetOutput(w)
	fs.PrintDefaults()
}

// options returns the flag set of a command.
func options(command string) *flag.FlagSet {
	fs := flag.NewFlagSet(command, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	return fs
}

// parse reads a command's options, which may also stand behind its arguments,
// and returns the arguments, from least to most in number, named by what.
func parse(fs *flag.FlagSet, args []string, what string, least, most int) ([]string, error) {
	var rest []string
	for {
		if err := parseOptions(fs, args, what); err != nil {
			return nil, err
		}
		if args = fs.Args(); len(args) == 0 {
			break
		}
		rest, args = append(rest, args[0]), args[1:]
	}
	switch {
	case len(rest) >= least && len(rest) <= most:
		return rest, nil
	case least == most:
		return nil, fmt.Errorf("%s: %q requires exactly %d argument(s): %s", name, fs.Name(), least, what)
	}
	return nil, fmt.Errorf("%s: %q requires %d to %d arguments: %s", name, fs.Name(), least, most, what)
}

// parseFirst is parse where the options end at the first argument, because
// those of another program follow.
func parseFirst(fs *flag.FlagSet, args []string, what string, least int) ([]string, error) {
	if err := parseOptions(fs, args, what); err != nil {
		return nil, err
	}
	if fs.NArg() < least {
		return nil, fmt.Errorf("%s: %q requires a minimum of %d argument(s): %s", name, fs.Name(), least, what)
	}
	return fs.Args(), nil
}

func parseOptions(fs *flag.FlagSet, args []string, what string) error {
	err := fs.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		all := commands()
		about := all[slices.IndexFunc(all, func(c command) bool { return c.name == fs.Name() })].about
		fmt.Printf("NAME:\n   %s %s - %s\n\nUSAGE:\n   %[1]s %[2]s [options] %[4]s\n\nOPTIONS:\n", name, fs.Name(), about, what)
		fs.SetOutput(os.Stdout)
		fs.PrintDefaults()
	}
	return err
}
