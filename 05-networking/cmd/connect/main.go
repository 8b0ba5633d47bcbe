//go:build linux

// Connect runs a program in a container with a network of its own: a bridge, a
// cable, an address, a way out, and ports that lead in.
//
//	connect [--explain] [--picture] [--name NAME] [-p [[HOST-IP:]HOST-PORT:]PORT[/udp|/sctp]]... ROOT PROGRAM [ARG...]
//	connect --net host|none|PID ROOT PROGRAM [ARG...]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/explain"
	namespaces "drydock.example/02-namespaces"
	networking "drydock.example/05-networking"
)

// network is where all containers of this program meet.
var network = &networking.Network{
	Name:     "connect",
	Bridge:   "dd5",
	Subnet:   netip.MustParsePrefix("172.30.5.0/24"),
	Gateway:  netip.MustParseAddr("172.30.5.1"),
	Subnet6:  netip.MustParsePrefix("fd5a:638a:128c::/64"),
	Gateway6: netip.MustParseAddr("fd5a:638a:128c::1"),
}

type options struct {
	ports   []networking.Port
	picture bool
	name    string
	net     string
}

func main() {
	flags := flag.NewFlagSet("connect", flag.ContinueOnError)
	narrate := flags.Bool("explain", false, "narrate each kernel operation")
	var o options
	flags.Func("p", "publish a `port` of the container: [[HOST-IP:]HOST-PORT:]PORT[/udp|/sctp]", func(s string) error {
		more, err := networking.ParsePort(s)
		o.ports = append(o.ports, more...)
		return err
	})
	flags.BoolVar(&o.picture, "picture", false, "draw the network when the container is in it")
	flags.StringVar(&o.name, "name", "", "`name` the container, and let it ask for the names of the others")
	flags.StringVar(&o.net, "net", "", "no network of its own: `host`, none, or that of the process PID")
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), "usage: connect [--explain] [--picture] [--name NAME] [-p PORT]... [--net host|none|PID] ROOT PROGRAM [ARG...]")
		flags.PrintDefaults()
	}
	if err := flags.Parse(os.Args[1:]); err != nil {
		os.Exit(2)
	}
	if flags.NArg() < 2 || o.net != "" && (len(o.ports) > 0 || o.picture || o.name != "") {
		flags.Usage()
		os.Exit(2)
	}
	ctx := context.Background()
	if *narrate {
		ctx = explain.With(ctx, explain.Text(os.Stderr))
	}
	status, err := run(ctx, o, flags.Arg(0), flags.Args()[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "connect:", err)
	}
	os.Exit(status)
}

// run returns the status for the shell: the program's own, 128 and the signal
// that killed it, 126 and 127 as shells use them, or 125 for our own failure.
func run(ctx context.Context, o options, root string, args []string) (status int, err error) {
	if os.Geteuid() != 0 {
		return 125, errors.New("new namespaces take root: run it with sudo")
	}
	if root, err = filepath.Abs(root); err != nil {
		return 125, err
	}
	spec := namespaces.NewSpec(root, args...)
	spec.Hostname = "connected"
	if o.net != "" {
		if err := shareNetwork(spec, o.net); err != nil {
			return 125, err
		}
		return runIn(ctx, spec)
	}
	var held []*networking.Reservation
	for i, p := range o.ports {
		r, err := networking.Reserve(p)
		if err != nil {
			return 125, err
		}
		defer r.Close()
		held = append(held, r)
		o.ports[i] = r.Port
	}
	ns, err := networking.NewNamespace(ctx)
	if err != nil {
		return 125, err
	}
	defer ns.Close()
	var ep *networking.Endpoint
	err = alone(func() (err error) {
		ep, err = join(ctx, ns, o.ports)
		return err
	})
	if err != nil {
		return 125, err
	}
	defer func() { err = errors.Join(err, alone(func() error { return leave(ctx, ep) })) }()
	for _, r := range held {
		if err := r.Relay(ctx, ep.Address.Addr()); err != nil {
			return 125, err
		}
	}
	fmt.Fprintf(os.Stderr, "connect: %s is %s on %s %v\n", ep.Interface, ep.Address, network.Bridge, ep.Ports)
	if o.name != "" {
		names, err := serveNames(ctx, ns, ep, o.name)
		if err != nil {
			return 125, err
		}
		defer func() { err = errors.Join(err, names.Close()) }()
		spec.Hostname = o.name
		spec.Mounts = append(spec.Mounts, names.mount())
	}
	if o.picture {
		if err := network.Picture(ctx, os.Stderr); err != nil {
			return 125, err
		}
	}
	joinNetwork(spec, fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ns.Fd()))
	return runIn(ctx, spec)
}

// shareNetwork has the program run in the network of others, or in one of its
// own with nothing but lo.
func shareNetwork(spec *specs.Spec, with string) error {
	switch with {
	case "none": // as NewSpec has it
	case "host":
		spec.Linux.Namespaces = slices.DeleteFunc(spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.NetworkNamespace })
	default:
		if _, err := strconv.ParseUint(with, 10, 31); err != nil {
			return fmt.Errorf("--net %q: want host, none, or the number of a process", with)
		}
		joinNetwork(spec, "/proc/"+with+"/ns/net")
	}
	return nil
}

func joinNetwork(spec *specs.Spec, path string) {
	for i, n := range spec.Linux.Namespaces {
		if n.Type == specs.NetworkNamespace {
			spec.Linux.Namespaces[i].Path = path
		}
	}
}

// alone runs f while no other connect does the same in this network namespace:
// who is the last to leave removes the network, and must not meet somebody who
// has found it and is not in it yet. The lock goes with the process.
func alone(f func() error) error {
	ns, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return err
	}
	defer ns.Close()
	for {
		err := unix.Flock(int(ns.Fd()), unix.LOCK_EX)
		if err == nil {
			return f()
		}
		if !errors.Is(err, unix.EINTR) {
			return &os.PathError{Op: "flock", Path: ns.Name(), Err: err}
		}
	}
}

// join makes the network, or what is missing of it, and plugs ns in.
func join(ctx context.Context, ns *os.File, ports []networking.Port) (*networking.Endpoint, error) {
	if err := network.Create(ctx); err != nil {
		return nil, err
	}
	ep, err := plugIn(ctx, ns, ports)
	if err != nil {
		return nil, errors.Join(err, removeEmpty(ctx))
	}
	return ep, nil
}

// plugIn connects ns with the first address that nobody has. Another program
// may be a moment ahead of us; then the kernel refuses, and the next one is tried.
func plugIn(ctx context.Context, ns *os.File, ports []networking.Port) (*networking.Endpoint, error) {
	others, err := network.Endpoints(ctx)
	if err != nil {
		return nil, err
	}
	used := []netip.Addr{network.Gateway}
	for _, other := range others {
		used = append(used, other.Address.Addr())
	}
	pool := networking.NewPool(network.Subnet, used...)
	for {
		address, err := pool.Allocate()
		if err != nil {
			return nil, err
		}
		ep := &networking.Endpoint{Address: netip.PrefixFrom(address, network.Subnet.Bits()), Address6: sameHost(address), Ports: ports}
		if err = network.Connect(ctx, ns, ep); err == nil || !errdefs.IsAlreadyExists(err) {
			return ep, err
		}
	}
}

// sameHost is the IPv6 address with the host number of an IPv4 one.
func sameHost(a netip.Addr) netip.Prefix {
	six := network.Subnet6.Addr().As16()
	six[15] = a.As4()[3]
	return netip.PrefixFrom(netip.AddrFrom16(six), network.Subnet6.Bits())
}

// leave undoes join.
func leave(ctx context.Context, ep *networking.Endpoint) error {
	return errors.Join(network.Disconnect(ctx, ep), removeEmpty(ctx))
}

// removeEmpty removes the network when nobody is left in it.
func removeEmpty(ctx context.Context) error {
	left, err := network.Endpoints(ctx)
	if err != nil || len(left) > 0 {
		return err
	}
	return network.Delete(ctx)
}

func runIn(ctx context.Context, spec *specs.Spec) (int, error) {
	p, err := namespaces.Create(ctx, spec, namespaces.Options{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Bound: true})
	if err != nil {
		return namespaces.ExitStatus(err), err
	}
	return p.Foreground(ctx)
}
