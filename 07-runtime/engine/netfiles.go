//go:build linux

package engine

import (
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/moby/moby/api/types/container"

	networking "drydock.example/05-networking"
)

// netFiles writes the container's hosts, hostname and resolv.conf, which are mounted over those
// of the image.
func (c *Container) netFiles(r *record) error {
	hosts, err := hostsFile(r)
	if err != nil {
		return err
	}
	resolv, err := resolvConf(r)
	if err != nil {
		return err
	}
	for name, text := range map[string][]byte{"hosts": hosts, "hostname": []byte(r.Config.Hostname + "\n"), "resolv.conf": resolv} {
		if err := os.WriteFile(c.dir(name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// hostsFile is the container's own name and what --add-host says; in the host's network, after
// what the host knows.
func hostsFile(r *record) ([]byte, error) {
	var gateway netip.Addr
	var own []netip.Addr
	if r.Endpoint != nil {
		gateway, own = r.Endpoint.Gateway, []netip.Addr{r.Endpoint.Address.Addr()}
	}
	added, err := extraHosts(r.HostConfig, gateway)
	if err != nil {
		return nil, err
	}
	if !r.HostConfig.NetworkMode.IsHost() {
		return networking.Hosts([]string{r.Config.Hostname}, own, added), nil
	}
	hosts, err := os.ReadFile("/etc/hosts")
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	for _, h := range added {
		hosts = fmt.Appendf(hosts, "%s\t%s\n", h.Address, h.Name)
	}
	return hosts, nil
}

func extraHosts(h *container.HostConfig, gateway netip.Addr) ([]networking.Host, error) {
	var all []networking.Host
	for _, s := range h.ExtraHosts {
		host, err := networking.ParseHost(s, gateway)
		if err != nil {
			return nil, err
		}
		all = append(all, host)
	}
	return all, nil
}

// resolvConf is the host's, as far as it means the same in the container. Where it names nobody
// whom a container with a cable reaches, public servers are asked, as Docker does.
func resolvConf(r *record) ([]byte, error) {
	if r.HostConfig.NetworkMode.IsHost() {
		conf, err := os.ReadFile("/etc/resolv.conf")
		if os.IsNotExist(err) {
			return nil, nil
		}
		return conf, err
	}
	conf, err := networking.HostResolvConf()
	if err != nil {
		return nil, err
	}
	conf = networking.ResolvConf(conf)
	if r.Endpoint != nil && !namesServer(conf) {
		conf = append(conf, "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"...)
	}
	return conf, nil
}

func namesServer(conf []byte) bool {
	for line := range strings.Lines(string(conf)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "nameserver" {
			return true
		}
	}
	return false
}
