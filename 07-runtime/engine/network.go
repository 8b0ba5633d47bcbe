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
	"sync"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"go.etcd.io/bbolt"

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

	mu      sync.Mutex
	plugged map[netip.Addr]*networking.Endpoint // what the rules are to know, from before it is told them
}

// plug notes that the rules are to know of ep. Undo: unplug.
func (b *bridgeNetwork) plug(ep *endpoint) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.plugged[ep.Address.Addr()] = ep.kernel()
}

// unplug waits for a repair that is under way: after it nobody publishes ep again.
func (b *bridgeNetwork) unplug(ep *endpoint) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.plugged, ep.Address.Addr())
}

// repair puts back what is missing of the network and of what is published in it.
func (b *bridgeNetwork) repair(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	errs := []error{b.network.Create(ctx)}
	for _, ep := range b.plugged {
		errs = append(errs, b.network.Publish(ctx, ep))
	}
	return errors.Join(errs...)
}

// watchRules repairs the network whenever somebody has flushed the rules, until Close. What cannot
// be repaired is met again, and told, by the next container that is connected.
func (e *Engine) watchRules() {
	networking.Watch(e.ctx, func() {
		if <-e.bridge.ready; e.bridge.err == nil && e.ctx.Err() == nil {
			e.bridge.repair(e.ctx)
		}
	})
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
	n.Name, n.Bridge = network.NetworkBridge, b.link
	if len(used) > 0 {
		err = n.Create(ctx) // containers have addresses in this subnet, whoever else came to have it
	} else if err = n.CreateFree(ctx, networking.PrivateSubnets...); errdefs.IsAlreadyExists(err) {
		// The subnet of earlier times is somebody else's now, or the bridge is of an earlier life with another one.
		err = n.Delete(ctx)
		n.Subnet, n.Gateway = netip.Prefix{}, netip.Addr{}
		err = errors.Join(err, n.CreateFree(ctx, networking.PrivateSubnets...))
	}
	if err == nil {
		err = saveNetwork(db, n)
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
	var gateway netip.Addr
	if mode == "" || mode.IsDefault() || mode.IsBridge() {
		gateway = netip.IPv4Unspecified() // which one is known when the container starts
	}
	if _, err := extraHosts(h, gateway); err != nil {
		return err
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

// connect plugs the cable in, and relays what the rules do not translate. Should somebody have
// flushed the rules or removed the bridge, the network is repaired first. Undo, after an error
// too: disconnect.
func (e *Engine) connect(ctx context.Context, ns *os.File, ep *endpoint, held reservations) error {
	e.bridge.plug(ep)
	cable := ep.kernel()
	err := e.bridge.network.Connect(ctx, ns, cable)
	if errdefs.IsNotFound(err) {
		if err = e.bridge.network.Create(ctx); err == nil {
			err = e.bridge.network.Connect(ctx, ns, cable)
		}
	}
	if err != nil {
		return err
	}
	ep.MAC = cable.MAC
	return held.relay(ctx, ep.Address.Addr())
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
	e.bridge.unplug(ep)
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
	e.bridge.unplug(ep)
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
