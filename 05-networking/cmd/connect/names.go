//go:build linux

package main

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"sync"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/vishvananda/netlink"

	networking "drydock.example/05-networking"
	"drydock.example/05-networking/dns"
)

// nameServer answers one container's questions. A container's name is written on
// its cable, as the alias of the host's end: so every connect knows the names
// of all, and a name goes with its container.
type nameServer struct {
	registry dns.Registry
	known    map[string]bool
	server   *dns.Server
	stop     chan struct{}
	watching sync.WaitGroup
	conf     string // a resolv.conf for the container
}

// serveNames calls the container that ep connects name, and answers it.
func serveNames(ctx context.Context, ns *os.File, ep *networking.Endpoint, name string) (_ *nameServer, err error) {
	cable, err := netlink.LinkByName(ep.HostInterface)
	if err != nil {
		return nil, err
	}
	if err := netlink.LinkSetAlias(cable, name); err != nil {
		return nil, err
	}
	text, err := networking.HostResolvConf()
	if err != nil {
		return nil, err
	}
	conf, upstreams := dns.ParseResolvConf(text).Embedded(dns.ResolvConf{})
	s := &nameServer{known: make(map[string]bool), stop: make(chan struct{})}
	if s.server, err = dns.Listen(ctx, ns, &s.registry, dns.View{Networks: []string{network.Name}, Upstreams: upstreams}); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	changes := make(chan netlink.LinkUpdate)
	if err := netlink.LinkSubscribe(changes, s.stop); err != nil {
		return nil, err
	}
	if err := s.read(ctx); err != nil {
		return nil, err
	}
	s.watching.Go(func() {
		for range changes {
			_ = s.read(ctx) // of a network that is going away
		}
	})
	file, err := os.CreateTemp("", "resolv.conf-")
	if err != nil {
		return nil, err
	}
	s.conf = file.Name()
	_, err = file.Write(conf.Bytes())
	return s, errors.Join(err, file.Chmod(0o644), file.Close())
}

// read takes the names from the cables of the network.
func (s *nameServer) read(ctx context.Context) error {
	endpoints, err := network.Endpoints(ctx)
	if err != nil {
		return err
	}
	now := make(map[string]bool)
	for _, ep := range endpoints {
		cable, err := netlink.LinkByName(ep.HostInterface)
		if err != nil || cable.Attrs().Alias == "" {
			continue
		}
		r := dns.Record{Name: cable.Attrs().Alias}
		for _, a := range []netip.Prefix{ep.Address, ep.Address6} {
			if a.IsValid() {
				r.Addresses = append(r.Addresses, a.Addr())
			}
		}
		now[r.Name] = true
		s.registry.Add(network.Name, r)
	}
	for name := range s.known {
		if !now[name] {
			s.registry.Remove(network.Name, name)
		}
	}
	s.known = now
	return nil
}

// mount puts the resolv.conf into the container.
func (s *nameServer) mount() specs.Mount {
	return specs.Mount{Destination: "/etc/resolv.conf", Source: s.conf, Type: "bind", Options: []string{"bind", "ro"}}
}

func (s *nameServer) Close() error {
	close(s.stop)
	s.watching.Wait()
	err := s.server.Close()
	if s.conf != "" {
		err = errors.Join(err, os.Remove(s.conf))
	}
	return err
}
