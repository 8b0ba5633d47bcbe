//go:build linux

package engine

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
)

var port80 = network.MustParsePort("80/tcp")

// published is req with its port 80 published on a port of the host's that the kernel chooses.
func published(req container.CreateRequest) container.CreateRequest {
	req.HostConfig.NetworkMode = "default"
	req.HostConfig.PortBindings = network.PortMap{port80: {{}}}
	return req
}

// hostPort is the host's port that leads to the container's port 80.
func hostPort(t *testing.T, e *Engine, id string) int {
	t.Helper()
	r, err := e.ContainerInspect(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	bindings := r.NetworkSettings.Ports[port80]
	if len(bindings) != 1 {
		t.Fatalf("published: %v", r.NetworkSettings.Ports)
	}
	port, err := strconv.Atoi(bindings[0].HostPort)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func TestPublishedPort(t *testing.T) {
	e := open(t)
	server := create(t, e, "", published(request("serve", "80")))
	start(t, e, server)
	awaitLine(t, e, server, "serving")
	port := hostPort(t, e, server)
	if got := dial(t, port); got != "hello\n" {
		t.Errorf("it says %q", got)
	}
	r, err := e.ContainerInspect(t.Context(), server)
	if err != nil {
		t.Fatal(err)
	}
	es := r.NetworkSettings.Networks["bridge"]
	if !es.IPAddress.IsValid() || !es.Gateway.IsValid() || len(es.MacAddress) != 6 {
		t.Errorf("%+v", es)
	}
	list, err := e.ContainerList(t.Context(), false, 0, nil)
	if err != nil || len(list) != 1 || len(list[0].Ports) != 1 || list[0].Ports[0].PublicPort != uint16(port) {
		t.Errorf("%+v, %v", list, err)
	}

	// Another container on the same network reaches it, and knows itself by name.
	req := request("dial", net.JoinHostPort(es.IPAddress.String(), "80"))
	req.HostConfig.NetworkMode = "bridge"
	if _, out, stderr, _ := runToEnd(t, e, req); out != "hello\n" {
		t.Errorf("from another container: %q, %q", out, stderr)
	}
	req.Config.Cmd = []string{"read", "/etc/hosts"}
	id, out, _, _ := runToEnd(t, e, req)
	if !strings.Contains(out, "\t"+id[:12]+"\n") {
		t.Errorf("/etc/hosts is %q", out)
	}

	// A port that is taken: the message, and nothing left.
	taken := request("serve", "80")
	taken.HostConfig.NetworkMode = "bridge"
	taken.HostConfig.PortBindings = network.PortMap{port80: {{HostPort: strconv.Itoa(port)}}}
	id = create(t, e, "", taken)
	want := "Bind for 0.0.0.0:" + strconv.Itoa(port) + " failed: port is already allocated"
	if err := e.ContainerStart(t.Context(), id); !errdefs.IsConflict(err) || !strings.Contains(err.Error(), want) {
		t.Errorf("a port that is taken: %v", err)
	}
	if s := stateOf(t, e, id); s.ExitCode != 128 || !strings.Contains(s.Error, want) {
		t.Errorf("%+v", s)
	}
	if _, err := os.Stat(filepath.Join(e.opt.State, "containers", id)); !os.IsNotExist(err) {
		t.Errorf("its bundle is left: %v", err)
	}
	if plugged, err := e.bridge.network.Endpoints(t.Context()); err != nil || len(plugged) != 1 {
		t.Errorf("in the network: %v, %v", plugged, err)
	}
	if err := e.ContainerStop(t.Context(), server, "KILL", nil); err != nil {
		t.Fatal(err)
	}
	start(t, e, id)
	awaitLine(t, e, id, "serving")
	if got := dial(t, port); got != "hello\n" {
		t.Errorf("it says %q", got)
	}
}

func TestNetworkModes(t *testing.T) {
	e := open(t)
	req := request("dial", "127.0.0.1:1")
	if _, _, stderr, _ := runToEnd(t, e, req); !strings.Contains(stderr, "connection refused") {
		t.Errorf("none: its loopback says %q", stderr)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			c.Write([]byte("the host\n"))
			c.Close()
		}
	}()
	req = request("dial", l.Addr().String())
	req.HostConfig.NetworkMode = "host"
	if _, out, stderr, _ := runToEnd(t, e, req); out != "the host\n" {
		t.Errorf("host: %q, %q", out, stderr)
	}
	req.HostConfig.NetworkMode = "harbor"
	if _, err := e.ContainerCreate(t.Context(), "", req); !errdefs.IsInvalidArgument(err) || err.Error() != "network harbor not found" {
		t.Errorf("a network that there is not: %v", err)
	}
}

// Two engines on one host have networks that do not meet.
func TestTwoEngines(t *testing.T) {
	one, two := open(t), open(t)
	<-one.bridge.ready
	<-two.bridge.ready
	if one.bridge.err != nil || two.bridge.err != nil {
		t.Fatal(one.bridge.err, two.bridge.err)
	}
	a, b := one.bridge.network, two.bridge.network
	if a.Bridge == b.Bridge || a.Subnet.Overlaps(b.Subnet) {
		t.Errorf("%+v and %+v", a, b)
	}
}

func TestFreeSubnet(t *testing.T) {
	prefixes := func(s ...string) (ps []netip.Prefix) {
		for _, p := range s {
			ps = append(ps, netip.MustParsePrefix(p))
		}
		return ps
	}
	for _, c := range []struct {
		taken []netip.Prefix
		want  string
	}{
		{nil, "172.30.0.0/16"},
		{prefixes("172.30.4.0/24", "10.0.0.0/8"), "172.29.0.0/16"},
		{prefixes("172.16.0.0/12", "192.168.255.1/32"), "192.168.254.0/24"},
	} {
		if got, err := freeSubnet(c.taken); err != nil || got.String() != c.want {
			t.Errorf("%v: %v, %v", c.taken, got, err)
		}
	}
	if got, err := freeSubnet(prefixes("0.0.0.0/1", "128.0.0.0/1")); !errdefs.IsResourceExhausted(err) {
		t.Errorf("a full host: %v, %v", got, err)
	}
}

func TestReachableResolvers(t *testing.T) {
	got, err := reachableResolvers("search example\nnameserver 127.0.0.53\nnameserver 10.0.0.1\noptions edns0\n")
	if err != nil || got != "search example\nnameserver 10.0.0.1\noptions edns0\n" {
		t.Errorf("%q, %v", got, err)
	}
}
