//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	networking "drydock.example/05-networking"
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
	if len(bindings) != 2 || bindings[0].HostPort != bindings[1].HostPort { // in IPv4 and in IPv6
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
	c, err := net.Dial("tcp", net.JoinHostPort("::1", strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); err != nil || string(got) != "hello\n" {
		t.Errorf("by [::1] it says %q, %v", got, err)
	}
	c.Close()
	r, err := e.ContainerInspect(t.Context(), server)
	if err != nil {
		t.Fatal(err)
	}
	es := r.NetworkSettings.Networks["bridge"]
	if !es.IPAddress.IsValid() || !es.Gateway.IsValid() || len(es.MacAddress) != 6 {
		t.Errorf("%+v", es)
	}
	list, err := e.ContainerList(t.Context(), false, 0, nil)
	if err != nil || len(list) != 1 || len(list[0].Ports) != 2 || list[0].Ports[0].PublicPort != uint16(port) {
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
	if c, err := net.Dial("tcp", net.JoinHostPort("::1", strconv.Itoa(port))); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("after its end [::1] says %v, %v", c, err)
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

// Engines that begin at the same moment on one host have networks that do not meet.
func TestEnginesSideBySide(t *testing.T) {
	var bridges [4]bridgeNetwork
	var all sync.WaitGroup
	for i := range bridges {
		db, err := bbolt.Open(filepath.Join(t.TempDir(), "meta.db"), 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if err := (&Engine{db: db}).makeBuckets(); err != nil {
			t.Fatal(err)
		}
		b := &bridges[i]
		b.link = fmt.Sprintf("drydock-t%d", i)
		all.Go(func() { b.err = b.setUp(t.Context(), db, nil) })
	}
	all.Wait()
	for i := range bridges {
		b := &bridges[i]
		if b.err != nil {
			t.Error(b.err)
			continue
		}
		defer b.network.Delete(context.Background())
		for j := range i {
			if other := bridges[j].network; b.network.Subnet.Overlaps(other.Subnet) {
				t.Errorf("%+v and %+v", b.network, other)
			}
		}
	}
}

// The subnet is the same after a restart, unless somebody else has it by then.
func TestSubnetIsRemembered(t *testing.T) {
	opt := options(t)
	subnet := func() netip.Prefix {
		e, err := Open(t.Context(), opt)
		if err != nil {
			t.Fatal(err)
		}
		<-e.bridge.ready
		if err := errors.Join(e.bridge.err, e.Close()); err != nil {
			t.Fatal(err)
		}
		return e.bridge.network.Subnet
	}
	first := subnet()
	if second := subnet(); second != first {
		t.Errorf("%s, after a restart %s", first, second)
	}
	theirs := networking.Network{Name: "theirs", Bridge: "theirs0", Subnet: first, Gateway: first.Addr().Next()}
	if err := theirs.Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer theirs.Delete(context.Background())
	if other := subnet(); other.Overlaps(first) {
		t.Errorf("%s is taken, and the engine has %s", first, other)
	}
}

// Somebody flushes the rules while a container has a published port, under one engine and under
// the next. The port is of 127.0.0.1 alone: nobody but the rules brings a client in.
func TestRulesAreFlushed(t *testing.T) {
	nft, err := exec.LookPath("nft")
	if err != nil {
		t.Skip("nft is not installed")
	}
	opt := options(t)
	m := openMortal(t, opt)
	req := published(request("serve", "80"))
	req.HostConfig.PortBindings = network.PortMap{port80: {{HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: "18431"}}}
	m.create(t, req, true)
	flush := func() {
		t.Helper()
		for _, table := range []string{"inet drydock", "bridge drydock"} {
			if out, err := exec.Command(nft, "delete table "+table).CombinedOutput(); err != nil {
				t.Fatalf("nft: %v: %s", err, out)
			}
		}
		// Neither engine tells when it has done it: the port answers, and the switch looks at frames.
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			var got []byte
			if c, err := net.DialTimeout("tcp", "127.0.0.1:18431", time.Second); err == nil {
				got, _ = io.ReadAll(c)
				c.Close()
			}
			guard, err := exec.Command(nft, "list table bridge drydock").CombinedOutput()
			if string(got) == "hello\n" && strings.Contains(string(guard), "veth-") {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("the published port says %q; the rules for frames: %v: %s", got, err, guard)
			}
		}
	}
	flush()
	m.kill()
	openWith(t, opt)
	flush()
}

// A container knows its own name, what it was told, and whom to ask.
func TestHostsAndResolvers(t *testing.T) {
	e := open(t)
	req := request("read", "/etc/hosts")
	req.HostConfig.NetworkMode = "bridge"
	req.HostConfig.ExtraHosts = []string{"db:192.0.2.7", "up=host-gateway"}
	id, out, _, _ := runToEnd(t, e, req)
	gateway := e.bridge.network.Gateway.String()
	for _, line := range []string{"127.0.0.1\tlocalhost", "192.0.2.7\tdb", gateway + "\tup", "\t" + id[:12]} {
		if !strings.Contains(out, line+"\n") {
			t.Errorf("/etc/hosts is %q, without %q", out, line)
		}
	}
	req.Config.Cmd = []string{"read", "/etc/resolv.conf"}
	if _, out, _, _ := runToEnd(t, e, req); !strings.Contains(out, "nameserver ") || strings.Contains(out, "nameserver 127.") {
		t.Errorf("/etc/resolv.conf is %q", out)
	}

	req.HostConfig.NetworkMode = "none"
	if _, err := e.ContainerCreate(t.Context(), "", req); !errdefs.IsInvalidArgument(err) || err.Error() != `host "up=host-gateway": this container has no gateway` {
		t.Errorf("a gateway where there is no network: %v", err)
	}
	req.HostConfig.ExtraHosts = []string{"db"}
	if _, err := e.ContainerCreate(t.Context(), "", req); !errdefs.IsInvalidArgument(err) || err.Error() != `host "db": want NAME:ADDRESS` {
		t.Errorf("half a host: %v", err)
	}
}
