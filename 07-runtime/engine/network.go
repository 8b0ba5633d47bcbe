//go:build linux

package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/vishvananda/netlink"
	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	networking "drydock.example/05-networking"
)

// endpoint is a container's cable, as the record has it while the container runs.
type endpoint struct {
	Network string
	Address netip.Prefix
	Gateway netip.Addr
	MAC     net.HardwareAddr
	Ports   []networking.Port
}

func (ep *endpoint) kernel() *networking.Endpoint {
	return &networking.Endpoint{Address: ep.Address, MAC: ep.MAC, Ports: ep.Ports}
}

// bridgeNetwork is the network "bridge" of one engine.
type bridgeNetwork struct {
	link string // the bridge's name

	ready   chan struct{} // closed when Create has ended, one way or the other
	err     error         // of that
	network networking.Network
	pool    *networking.Pool
}

// DefaultState is where the one engine that a host usually has keeps what dies with the machine.
const DefaultState = "/run/drydock"

// bridgeName is drydock0, or for a further engine on the host a name of its own.
func bridgeName(state string) string {
	if state == DefaultState {
		return "drydock0"
	}
	sum := sha256.Sum256([]byte(state))
	return "drydock-" + hex.EncodeToString(sum[:3])
}

// setUp makes the network, or what is missing of it. Meanwhile the engine goes on: the first
// container that needs the network waits for ready.
func (b *bridgeNetwork) setUp(ctx context.Context, db *bbolt.DB, used []netip.Addr) error {
	n, err := loadNetwork(db)
	if err != nil {
		return err
	}
	taken, err := takenSubnets(b.link)
	if err != nil {
		return err
	}
	// The subnet of earlier times is kept, unless somebody else has it now and no container does.
	if !n.Subnet.IsValid() || len(used) == 0 && overlaps(n.Subnet, taken) {
		if n.Subnet, err = freeSubnet(taken); err != nil {
			return err
		}
		n.Gateway = n.Subnet.Addr().Next()
	}
	n.Name, n.Bridge = network.NetworkBridge, b.link
	if err := saveNetwork(db, n); err != nil {
		return err
	}
	err = n.Create(ctx)
	if errdefs.IsAlreadyExists(err) && len(used) == 0 {
		// A bridge of ours from an earlier life, with the subnet of that life.
		err = errors.Join(n.Delete(ctx), n.Create(ctx))
	}
	if err != nil {
		return err
	}
	b.network = n
	b.pool = networking.NewPool(n.Subnet, append(used, n.Gateway)...)
	return nil
}

func loadNetwork(db *bbolt.DB) (n networking.Network, err error) {
	err = db.View(func(tx *bbolt.Tx) error {
		if v := tx.Bucket(networksBucket).Get([]byte(network.NetworkBridge)); v != nil {
			return json.Unmarshal(v, &n)
		}
		return nil
	})
	return n, err
}

// saveNetwork writes the network when it is not what is written already.
func saveNetwork(db *bbolt.DB, n networking.Network) error {
	data, err := json.Marshal(n)
	if err != nil {
		return err
	}
	if old, err := loadNetwork(db); err == nil && old == n {
		return nil
	}
	return db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket(networksBucket).Put([]byte(network.NetworkBridge), data)
	})
}

// freeSubnet returns the first private /16, then /24, that no route of the host leads into.
func freeSubnet(taken []netip.Prefix) (netip.Prefix, error) {
	for i := byte(30); i >= 18; i-- {
		if p := netip.PrefixFrom(netip.AddrFrom4([4]byte{172, i, 0, 0}), 16); !overlaps(p, taken) {
			return p, nil
		}
	}
	for i := 255; i >= 0; i-- {
		if p := netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, byte(i), 0}), 24); !overlaps(p, taken) {
			return p, nil
		}
	}
	return netip.Prefix{}, errdefs.ErrResourceExhausted.WithMessage("no private subnet is free for the network bridge: the host has routes into all of 172.18.0.0 to 172.30.0.0/16 and 192.168.0.0/16")
}

func overlaps(p netip.Prefix, others []netip.Prefix) bool {
	for _, o := range others {
		if p.Overlaps(o) {
			return true
		}
	}
	return false
}

// takenSubnets returns where the host's routes lead, but for the default routes and those of the
// link own.
func takenSubnets(own string) ([]netip.Prefix, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	defer h.Close()
	ownIndex := -1
	if link, err := h.LinkByName(own); err == nil {
		ownIndex = link.Attrs().Index
	}
	// All tables: a subnet that only a policy route leads to is in use as well.
	routes, err := h.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	var taken []netip.Prefix
	for _, r := range routes {
		if r.Dst == nil || r.LinkIndex == ownIndex {
			continue
		}
		bits, _ := r.Dst.Mask.Size()
		if a, ok := netip.AddrFromSlice(r.Dst.IP.To4()); ok && bits > 0 {
			taken = append(taken, netip.PrefixFrom(a, bits))
		}
	}
	return taken, nil
}

// checkNetwork refuses networks and ports that a container cannot have.
func checkNetwork(h *container.HostConfig) error {
	mode := h.NetworkMode
	switch {
	case mode == "" || mode.IsDefault() || mode.IsBridge() || mode.IsNone() || mode.IsHost():
	case mode.IsContainer():
		return invalid("HostConfig.NetworkMode %q is not supported by this engine", mode)
	default:
		// Not of the kind NotFound: at a create that means the image, and clients answer by pulling it.
		return invalid("network %s not found", mode)
	}
	for port, bindings := range h.PortBindings {
		for _, b := range bindings {
			if _, err := publication(port, b); err != nil {
				return err
			}
		}
	}
	return nil
}

// publication reads a port binding: the candidates of which one is to be reserved.
func publication(port network.Port, b network.PortBinding) ([]networking.Port, error) {
	p := networking.Port{HostIP: b.HostIP, ContainerPort: port.Num(), Protocol: string(port.Proto())}
	if p.Protocol != "tcp" && p.Protocol != "udp" {
		return nil, invalid("invalid port specification %q: protocol %q is not supported by this engine", port, p.Protocol)
	}
	if p.HostIP.IsValid() && !p.HostIP.Unmap().Is4() {
		return nil, invalid("invalid port specification: host address %s: IPv6 is not supported by this engine", p.HostIP)
	}
	if !p.HostIP.IsValid() {
		p.HostIP = netip.IPv4Unspecified()
	}
	from, to, isRange := strings.Cut(b.HostPort, "-")
	if !isRange {
		to = from
	}
	if from == "" {
		return []networking.Port{p}, nil
	}
	first, err := strconv.ParseUint(from, 10, 16)
	last, err2 := strconv.ParseUint(to, 10, 16)
	if err != nil || err2 != nil || last < first {
		return nil, invalid("invalid port specification: %q", b.HostPort)
	}
	var candidates []networking.Port
	for n := first; n <= last; n++ {
		p.HostPort = uint16(n)
		candidates = append(candidates, p)
	}
	return candidates, nil
}

// reservations are the host ports that a run has.
type reservations []*networking.Reservation

func (rs reservations) Close() {
	for _, r := range rs {
		r.Close()
	}
}

func (rs reservations) ports() []networking.Port {
	var ports []networking.Port
	for _, r := range rs {
		ports = append(ports, r.Port)
	}
	return ports
}

// reserve takes the host ports that the container publishes.
func reserve(r *record) (held reservations, err error) {
	defer func() {
		if err != nil {
			held.Close()
			held = nil
		}
	}()
	bindings := make(network.PortMap)
	for port, b := range r.HostConfig.PortBindings {
		bindings[port] = b
	}
	if r.HostConfig.PublishAllPorts {
		for port := range r.Config.ExposedPorts {
			if len(bindings[port]) == 0 {
				bindings[port] = []network.PortBinding{{}}
			}
		}
	}
	for port, bs := range bindings {
		for _, b := range bs {
			candidates, err := publication(port, b)
			if err != nil {
				return held, err
			}
			one, err := reserveOne(candidates)
			if err != nil {
				return held, err
			}
			held = append(held, one)
		}
	}
	return held, nil
}

// reserveOne takes the first candidate that is free.
func reserveOne(candidates []networking.Port) (*networking.Reservation, error) {
	var err error
	for _, p := range candidates {
		var r *networking.Reservation
		if r, err = networking.Reserve(p); err == nil {
			return r, nil
		}
		if !errdefs.IsAlreadyExists(err) {
			return nil, err
		}
		err = conflict("Bind for %s:%d failed: port is already allocated (%w)", p.HostIP, p.HostPort, err)
	}
	return nil, err
}

// reserveEndpoint decides the container's address and its ports. Nothing in the kernel is
// changed but the ports' reservation. Undo: releaseEndpoint.
func (e *Engine) reserveEndpoint(ctx context.Context, r *record) (*endpoint, reservations, error) {
	select {
	case <-e.bridge.ready:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	if e.bridge.err != nil {
		return nil, nil, fmt.Errorf("the network bridge could not be made: %w", e.bridge.err)
	}
	held, err := reserve(r)
	if err != nil {
		return nil, nil, fmt.Errorf("failed to set up container networking: driver failed programming external connectivity on endpoint %s (%s): %w", r.Name, endpointID(r), err)
	}
	address, err := e.bridge.pool.Allocate()
	if err != nil {
		held.Close()
		return nil, nil, err
	}
	return &endpoint{
		Network: network.NetworkBridge,
		Address: netip.PrefixFrom(address, e.bridge.network.Subnet.Bits()),
		Gateway: e.bridge.network.Gateway,
		Ports:   held.ports(),
	}, held, nil
}

func (e *Engine) releaseEndpoint(ep *endpoint, held reservations) {
	held.Close()
	if ep != nil && e.bridge.pool != nil {
		e.bridge.pool.Release(ep.Address.Addr())
	}
}

// connect plugs the cable in. Should somebody have flushed the rules or removed the bridge, the
// network is repaired first.
func (e *Engine) connect(ctx context.Context, ns *os.File, ep *networking.Endpoint) error {
	err := e.bridge.network.Connect(ctx, ns, ep)
	if !errdefs.IsNotFound(err) {
		return err
	}
	if err := e.bridge.network.Create(ctx); err != nil {
		return err
	}
	return e.bridge.network.Connect(ctx, ns, ep)
}

// disconnect takes the cable out. What is gone already is no error.
func (e *Engine) disconnect(ctx context.Context, ep *endpoint) error {
	if ep == nil {
		return nil
	}
	<-e.bridge.ready
	if e.bridge.err != nil {
		return e.bridge.err
	}
	return e.bridge.network.Disconnect(ctx, ep.kernel())
}

// unplug undoes the network of a run that has ended. When it returns the run's ports are free. The
// cable, for which the kernel waits some ten milliseconds until no processor can be using it, is
// taken out behind the caller's back, and the address is given to nobody else before.
func (e *Engine) unplug(ctx context.Context, ep *endpoint, held reservations) error {
	defer held.Close()
	if ep == nil {
		return nil
	}
	<-e.bridge.ready
	if e.bridge.err != nil {
		return e.bridge.err
	}
	if len(ep.Ports) > 0 {
		if err := e.bridge.network.Unpublish(ctx, ep.kernel()); err != nil {
			return err
		}
	}
	e.unplugging.Go(func() {
		// One that stays is found by the next start of the engine; its address is not given away.
		if e.bridge.network.Disconnect(ctx, ep.kernel()) == nil {
			e.bridge.pool.Release(ep.Address.Addr())
		}
	})
	return nil
}

// endpointID and networkID are names that the API wants to be 64 hexadecimal digits.
func endpointID(r *record) string {
	sum := sha256.Sum256([]byte(r.ID + " " + r.HostConfig.NetworkMode.NetworkName()))
	return hex.EncodeToString(sum[:])
}

func (e *Engine) networkID(name string) string {
	sum := sha256.Sum256([]byte(e.id + " " + name))
	return hex.EncodeToString(sum[:])
}

// endpointSettings is the container's network as the API shows it.
func (e *Engine) endpointSettings(r *record) map[string]*network.EndpointSettings {
	name := r.HostConfig.NetworkMode.NetworkName()
	es := &network.EndpointSettings{NetworkID: e.networkID(name)}
	if r.State.running() {
		es.EndpointID = endpointID(r)
	}
	if ep := r.Endpoint; ep != nil {
		es.Gateway = ep.Gateway
		es.IPAddress = ep.Address.Addr()
		es.IPPrefixLen = ep.Address.Bits()
		es.MacAddress = network.HardwareAddr(ep.MAC)
	}
	return map[string]*network.EndpointSettings{name: es}
}

// portMap is what is published, as docker inspect shows it.
func portMap(r *record) network.PortMap {
	ports := network.PortMap{}
	if !r.State.running() {
		return ports
	}
	for port := range r.Config.ExposedPorts {
		ports[port] = nil
	}
	if r.Endpoint != nil {
		for _, p := range r.Endpoint.Ports {
			port, _ := network.PortFrom(p.ContainerPort, network.IPProtocol(p.Protocol))
			ports[port] = append(ports[port], network.PortBinding{HostIP: p.HostIP, HostPort: strconv.Itoa(int(p.HostPort))})
		}
	}
	return ports
}

// netFiles writes the container's hosts, hostname and resolv.conf, which are mounted over those
// of the image.
func (c *Container) netFiles(r *record) error {
	var hosts strings.Builder
	hosts.WriteString("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n")
	if r.Endpoint != nil {
		fmt.Fprintf(&hosts, "%s\t%s\n", r.Endpoint.Address.Addr(), r.Config.Hostname)
	}
	resolv, err := os.ReadFile("/etc/resolv.conf")
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	files := map[string]string{
		"hosts":       hosts.String(),
		"hostname":    r.Config.Hostname + "\n",
		"resolv.conf": string(resolv),
	}
	if r.HostConfig.NetworkMode.IsHost() {
		own, err := os.ReadFile("/etc/hosts")
		if err != nil && !os.IsNotExist(err) {
			return err
		}
		files["hosts"] = string(own)
	} else if r.Endpoint != nil {
		if files["resolv.conf"], err = reachableResolvers(files["resolv.conf"]); err != nil {
			return err
		}
	}
	for name, text := range files {
		if err := os.WriteFile(c.dir(name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// reachableResolvers drops the nameservers on the host's loopback, which is another one in the
// container. Where none is left, it takes what systemd-resolved forwards to, and in the end
// public servers, as Docker does.
func reachableResolvers(conf string) (string, error) {
	filter := func(conf string) (string, bool) {
		var kept []string
		found := false
		for line := range strings.Lines(conf) {
			if fields := strings.Fields(line); len(fields) >= 2 && fields[0] == "nameserver" {
				a, err := netip.ParseAddr(fields[1])
				if err == nil && a.Unmap().IsLoopback() {
					continue
				}
				found = true
			}
			kept = append(kept, line)
		}
		return strings.Join(kept, ""), found
	}
	text, found := filter(conf)
	if found {
		return text, nil
	}
	upstream, err := os.ReadFile("/run/systemd/resolve/resolv.conf")
	if err != nil && !os.IsNotExist(err) {
		return "", err
	}
	if text, found := filter(string(upstream)); found {
		return text, nil
	}
	return text + "nameserver 8.8.8.8\nnameserver 8.8.4.4\n", nil
}
