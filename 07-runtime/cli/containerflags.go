package cli

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/docker/go-connections/nat"
	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/pflag"
)

// containerFlags are the flags that create and run share.
type containerFlags struct {
	name        string
	interactive bool
	tty         bool
	env         []string
	envFiles    []string
	workdir     string
	user        string
	hostname    string
	labels      []string
	memory      bytesFlag
	cpus        cpusFlag
	pidsLimit   int64
	publish     []string
	volumes     []string
	network     string
	entrypoint  string
	init        bool
	autoRemove  bool
	stopSignal  string
	stopTimeout int
	cidFile     string
	pull        string
	platform    string
	quiet       bool
}

func (f *containerFlags) add(flags *pflag.FlagSet) {
	// What follows the image's name belongs to the container's program.
	flags.SetInterspersed(false)
	flags.StringVar(&f.name, "name", "", "Assign a name to the container")
	flags.BoolVarP(&f.interactive, "interactive", "i", false, "Keep STDIN open even if not attached")
	flags.BoolVarP(&f.tty, "tty", "t", false, "Allocate a pseudo-TTY")
	flags.StringArrayVarP(&f.env, "env", "e", nil, "Set environment variables, as in NAME=VALUE, or NAME for the client's own value")
	flags.StringArrayVar(&f.envFiles, "env-file", nil, "Read in a file of environment variables")
	flags.StringVarP(&f.workdir, "workdir", "w", "", "Working directory inside the container")
	flags.StringVarP(&f.user, "user", "u", "", "Username or UID (format: <name|uid>[:<group|gid>])")
	flags.StringVarP(&f.hostname, "hostname", "h", "", "Container host name")
	flags.StringArrayVarP(&f.labels, "label", "l", nil, "Set meta data on the container, as in KEY=VALUE")
	flags.VarP(&f.memory, "memory", "m", "Memory limit, as in 64m or 1g")
	flags.Var(&f.cpus, "cpus", "Number of CPUs, as in 0.5")
	flags.Int64Var(&f.pidsLimit, "pids-limit", 0, "Limit the number of processes and threads (-1 for unlimited)")
	flags.StringArrayVarP(&f.publish, "publish", "p", nil, "Publish a container's port to the host, as in [[IP:]HOSTPORT:]PORT[/udp]")
	flags.StringArrayVarP(&f.volumes, "volume", "v", nil, "Bind mount a directory, as in /host/dir:/dir[:ro]")
	flags.StringVar(&f.network, "network", "default", "Connect the container to a network: bridge, host or none")
	flags.StringVar(&f.entrypoint, "entrypoint", "", "Overwrite the default ENTRYPOINT of the image")
	flags.BoolVar(&f.init, "init", false, "Run an init inside the container that forwards signals and reaps processes")
	flags.BoolVar(&f.autoRemove, "rm", false, "Automatically remove the container when it exits")
	flags.StringVar(&f.stopSignal, "stop-signal", "", "Signal to stop the container")
	flags.IntVar(&f.stopTimeout, "stop-timeout", 0, "Seconds to wait before a container that is stopped is killed")
	flags.StringVar(&f.cidFile, "cidfile", "", "Write the container ID to the file")
	flags.StringVar(&f.pull, "pull", "missing", `Pull image before creating ("always", "missing", "never")`)
	flags.StringVar(&f.platform, "platform", "", "Set platform if the server is multi-platform capable")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "Suppress the pull output")
}

// options returns what the daemon is asked to create: args is the image and the
// arguments after it. flags tell an empty value from none.
func (f *containerFlags) options(args []string, flags *pflag.FlagSet) (client.ContainerCreateOptions, error) {
	config := &container.Config{
		Image: args[0], Cmd: args[1:],
		Hostname: f.hostname, User: f.user, WorkingDir: f.workdir,
		Tty: f.tty, OpenStdin: f.interactive, StdinOnce: f.interactive,
		AttachStdin: f.interactive, AttachStdout: true, AttachStderr: true,
		StopSignal: f.stopSignal,
	}
	host := &container.HostConfig{
		NetworkMode:     container.NetworkMode(f.network),
		AutoRemove:      f.autoRemove,
		ContainerIDFile: f.cidFile,
		Resources:       container.Resources{Memory: int64(f.memory), NanoCPUs: int64(f.cpus)},
	}
	options := client.ContainerCreateOptions{Name: f.name, Config: config, HostConfig: host}
	if flags.Changed("entrypoint") {
		// An empty one takes the image's away.
		config.Entrypoint = []string{f.entrypoint}
	}
	if flags.Changed("init") {
		host.Init = &f.init
	}
	if flags.Changed("pids-limit") {
		host.PidsLimit = &f.pidsLimit
	}
	if flags.Changed("stop-timeout") {
		config.StopTimeout = &f.stopTimeout
	}
	var err error
	if config.Env, err = environment(f.env, f.envFiles); err != nil {
		return options, err
	}
	if config.Labels, err = labels(f.labels); err != nil {
		return options, err
	}
	if config.ExposedPorts, host.PortBindings, err = publishedPorts(f.publish); err != nil {
		return options, err
	}
	for _, volume := range f.volumes {
		bind, err := absoluteBind(volume)
		if err != nil {
			return options, err
		}
		if strings.Contains(bind, ":") {
			host.Binds = append(host.Binds, bind)
			continue
		}
		if config.Volumes == nil {
			config.Volumes = map[string]struct{}{}
		}
		config.Volumes[bind] = struct{}{}
	}
	if f.platform != "" {
		var p ocispec.Platform
		if p, err = parsePlatform(f.platform); err != nil {
			return options, err
		}
		options.Platform = &p
	}
	switch f.pull {
	case "always", "missing", "never":
	default:
		return options, invalidFlag("--pull", f.pull, "want always, missing or never")
	}
	return options, nil
}

// environment returns the variables of the files, then those of the flags,
// which come later and therefore win.
func environment(entries, files []string) ([]string, error) {
	var env []string
	for _, path := range files {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		lines, err := envFile(content)
		if err != nil {
			return nil, fmt.Errorf("invalid env file (%s): %w", path, err)
		}
		env = append(env, lines...)
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry, "=") || entry == "" {
			return nil, invalidFlag("-e, --env", entry, "the variable has no name")
		}
		env = appendVariable(env, entry)
	}
	return env, nil
}

// appendVariable adds NAME=VALUE, or for NAME alone the client's own value, and
// nothing where the client has none.
func appendVariable(env []string, entry string) []string {
	if strings.Contains(entry, "=") {
		return append(env, entry)
	}
	if value, ok := os.LookupEnv(entry); ok {
		return append(env, entry+"="+value)
	}
	return env
}

// envFile reads lines of NAME=VALUE or NAME; empty ones and comments are passed
// over, and nothing is quoted.
func envFile(content []byte) ([]string, error) {
	content = bytes.TrimPrefix(content, []byte("\xef\xbb\xbf")) // editors on Windows write this mark
	var env []string
	lines := bufio.NewScanner(bytes.NewReader(content))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimLeftFunc(lines.Text(), unicode.IsSpace)
		if !utf8.ValidString(line) {
			return nil, fmt.Errorf("line %d is no UTF-8", n)
		}
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, _, _ := strings.Cut(line, "=")
		switch {
		case name == "":
			return nil, fmt.Errorf("no variable name on line %d: %q", n, line)
		case strings.ContainsFunc(name, unicode.IsSpace):
			return nil, fmt.Errorf("variable %q on line %d contains whitespaces", name, n)
		}
		env = appendVariable(env, line)
	}
	return env, lines.Err()
}

func labels(entries []string) (map[string]string, error) {
	out := map[string]string{}
	for _, entry := range entries {
		key, value, _ := strings.Cut(entry, "=")
		if key == "" {
			return nil, invalidFlag("-l, --label", entry, "the label has no name")
		}
		out[key] = value
	}
	return out, nil
}

// publishedPorts reads [[IP:]HOSTPORT:]PORT[/PROTOCOL], with ranges.
func publishedPorts(specs []string) (network.PortSet, network.PortMap, error) {
	exposed, bindings := network.PortSet{}, network.PortMap{}
	for _, spec := range specs {
		mappings, err := nat.ParsePortSpec(spec)
		if err != nil {
			return nil, nil, invalidFlag("-p, --publish", spec, err.Error()+"; want [[IP:]HOSTPORT:]PORT[/udp], as in 127.0.0.1:8080:80")
		}
		for _, m := range mappings {
			port, err := network.ParsePort(string(m.Port))
			if err != nil {
				return nil, nil, invalidFlag("-p, --publish", spec, err.Error())
			}
			binding := network.PortBinding{HostPort: m.Binding.HostPort}
			if m.Binding.HostIP != "" {
				if binding.HostIP, err = netip.ParseAddr(m.Binding.HostIP); err != nil {
					return nil, nil, invalidFlag("-p, --publish", spec, err.Error())
				}
			}
			exposed[port] = struct{}{}
			bindings[port] = append(bindings[port], binding)
		}
	}
	return exposed, bindings, nil
}

// absoluteBind makes a source that begins with a dot absolute: the daemon does
// not know where the client stands.
func absoluteBind(spec string) (string, error) {
	source, rest, ok := strings.Cut(spec, ":")
	switch {
	case spec == "":
		return "", invalidFlag("-v, --volume", spec, "want /host/dir:/dir[:ro]")
	case !ok || !strings.HasPrefix(source, "."):
		return spec, nil
	}
	path, err := filepath.Abs(source)
	if err != nil {
		return "", err
	}
	return path + ":" + rest, nil
}

// bytesFlag is a size in bytes, written as 64m or 1g.
type bytesFlag int64

func (b *bytesFlag) Type() string { return "bytes" }

func (b *bytesFlag) String() string {
	if *b == 0 {
		return ""
	}
	return units.BytesSize(float64(*b))
}

func (b *bytesFlag) Set(s string) error {
	n, err := units.RAMInBytes(s)
	if err != nil {
		return errors.New("want a size, as in 64m or 1g")
	}
	*b = bytesFlag(n)
	return nil
}

// cpusFlag is a number of CPUs in billionths, written as 0.5.
type cpusFlag int64

func (c *cpusFlag) Type() string { return "decimal" }

func (c *cpusFlag) String() string {
	if *c == 0 {
		return ""
	}
	return new(big.Rat).SetFrac64(int64(*c), 1e9).FloatString(3)
}

func (c *cpusFlag) Set(s string) error {
	cpus, ok := new(big.Rat).SetString(s)
	if !ok {
		return errors.New("want a number of CPUs, as in 0.5")
	}
	nano := cpus.Mul(cpus, new(big.Rat).SetInt64(1e9))
	if !nano.IsInt() || !nano.Num().IsInt64() {
		return errors.New("want at most nine decimals, as in 0.5")
	}
	*c = cpusFlag(nano.Num().Int64())
	return nil
}

func invalidFlag(flag, value, why string) error {
	return &exitError{125, fmt.Sprintf("drydock: invalid argument %q for %q flag: %s", value, flag, why)}
}
