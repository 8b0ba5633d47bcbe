//go:build linux

package networking

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/doctor"
	"drydock.example/01-chroot/hosttest"
)

func answer(t *testing.T, r doctor.Result, status doctor.Status, found, cure string) {
	t.Helper()
	if r.Status != status || r.Found != found {
		t.Errorf("%s, %q: want %s, %q", r.Status, r.Found, status, found)
	}
	if cure != "" && !slices.ContainsFunc(r.Cure, func(s string) bool { return strings.Contains(s, cure) }) {
		t.Errorf("the cures of %q are %q: want one with %q", r.Found, r.Cure, cure)
	}
	if r.Status == doctor.Missing && (r.Why == "" || len(r.Cure) == 0) {
		t.Errorf("%q says neither why nor the cure: %+v", r.Found, r)
	}
}

// Where this chapter's tests run there are networks, and no check leaves a trace.
func TestDoctorFindsNetworksPossible(t *testing.T) {
	hosttest.Require(t, hosttest.Bridge)
	before, err := netlink.LinkList()
	must(t, err)
	for _, c := range Checks() {
		if c.Chapter != 5 || c.Name == "" || c.For == "" {
			t.Errorf("check %+v", c)
		}
		t.Run(c.Name, func(t *testing.T) {
			if c.Name == "tun" {
				openTun(t)
			}
			if r := c.Run(t.Context()); r.Status != doctor.OK {
				t.Errorf("%+v", r)
			}
		})
	}
	after, err := netlink.LinkList()
	must(t, err)
	if len(before) != len(after) {
		t.Errorf("%d links before, %d after", len(before), len(after))
	}
}

func TestDoctorOnForwarding(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	ask := func() doctor.Result { return Checks()[3].Run(t.Context()) }
	old, err := os.ReadFile(forwardFile)
	must(t, err)
	t.Cleanup(func() { must(t, os.WriteFile(forwardFile, old, 0)) })
	must(t, os.WriteFile(forwardFile, []byte("1"), 0))
	answer(t, ask(), doctor.OK, "on", "")
	must(t, os.WriteFile(forwardFile, []byte("0"), 0))
	answer(t, ask(), doctor.OK, "off; the first network switches it on", "")
	err = doctor.Apart(t.Context(), unix.CLONE_NEWNS, func() error {
		if err := unix.Mount("/proc/sys", "/proc/sys", "", unix.MS_BIND, ""); err != nil {
			return err
		}
		if err := unix.Mount("", "/proc/sys", "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			return err
		}
		answer(t, ask(), doctor.Missing, "off, and write /proc/sys/net/ipv4/ip_forward: read-only file system", "docker run --sysctl net.ipv4.ip_forward=1")
		return nil
	})
	must(t, err)
	answer(t, forwarding("0", nil, unix.EACCES, 1000), doctor.OK, "off; root's first network switches it on", "")
}

// foreign makes a table with these chains, the first of which is called for
// what is forwarded, for the test's time.
func foreign(t *testing.T, family nftables.TableFamily, name string, policy nftables.ChainPolicy, chains ...string) {
	t.Helper()
	c := new(nftables.Conn)
	table := c.AddTable(&nftables.Table{Name: name, Family: family})
	for i, chain := range chains {
		ch := &nftables.Chain{Table: table, Name: chain}
		if i == 0 {
			ch.Type, ch.Hooknum, ch.Priority, ch.Policy = nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter, &policy
		}
		c.AddChain(ch)
	}
	must(t, c.Flush())
	t.Cleanup(func() {
		c := new(nftables.Conn)
		c.DelTable(table)
		must(t, c.Flush())
	})
}

func TestDoctorFindsFirewallsThatDrop(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	const accept, drops = nftables.ChainPolicyAccept, nftables.ChainPolicyDrop
	for _, c := range []struct {
		name, table   string
		family        nftables.TableFamily
		policy        nftables.ChainPolicy
		chains        []string
		found, remedy string
	}{
		{"Docker", "filter", nftables.TableFamilyIPv4, drops, []string{"FORWARD", "DOCKER-USER", "DOCKER"}, "Docker's chain, ip filter FORWARD may drop what is forwarded", "iptables -I DOCKER-USER -i BRIDGE"},
		{"ufw", "filter", nftables.TableFamilyIPv4, drops, []string{"FORWARD", "ufw-before-forward", "DOCKER-USER"}, "ufw's chain, ip filter FORWARD may drop what is forwarded", "ufw route allow in on BRIDGE"},
		{"firewalld", "firewalld", nftables.TableFamilyINet, accept, []string{"filter_FORWARD"}, "firewalld's chain, inet firewalld filter_FORWARD may drop what is forwarded", "firewall-cmd --permanent --zone=trusted"},
		{"somebody", "mine", nftables.TableFamilyINet, drops, []string{"fwd"}, "the chain inet mine fwd may drop what is forwarded", "nft insert rule inet mine fwd iifname BRIDGE accept"},
		{"an open one", "filter", nftables.TableFamilyIPv4, accept, []string{"FORWARD", "DOCKER-USER"}, "", ""},
		{"IPv6 alone", "filter", nftables.TableFamilyIPv6, drops, []string{"FORWARD", "DOCKER-USER"}, "Docker's chain, ip6 filter FORWARD may drop what is forwarded", "ip6tables -I DOCKER-USER -i BRIDGE"},
	} {
		t.Run(c.name, func(t *testing.T) {
			foreign(t, c.family, c.table, c.policy, c.chains...)
			r := Checks()[4].Run(t.Context())
			if c.found == "" {
				answer(t, r, doctor.OK, "none that drops what is forwarded", "")
				return
			}
			answer(t, r, doctor.Limited, c.found, c.remedy)
			if only := strings.HasSuffix(r.Breaks, "by IPv6"); only != (c.family == nftables.TableFamilyIPv6) {
				t.Errorf("what breaks is %q", r.Breaks)
			}
			all, err := forwardDrops()
			must(t, err)
			answer(t, bridged("1\n", nil, all), doctor.Limited, "net.bridge.bridge-nf-call-iptables is 1, and a firewall drops what is forwarded", c.remedy)
		})
	}
	answer(t, firewall(legacyDrops("nat\nfilter\n"), nil, 0), doctor.Limited,
		"iptables-legacy's chain, iptables-legacy filter FORWARD may drop what is forwarded", "sudo iptables-legacy -S FORWARD")
	answer(t, firewall(legacyDrops("nat\n"), nil, 0), doctor.OK, "none that drops what is forwarded", "")
	answer(t, firewall(nil, fmt.Errorf("list: %w", unix.EPERM), 1000), doctor.Unknown, "not root: it cannot be tried", "sudo")
}

func TestDoctorOnTun(t *testing.T) {
	answer(t, tunFound(nil, fs.ErrNotExist), doctor.Limited, "file does not exist", "sudo modprobe tun")
	ownTun(t, 0o600)
	answer(t, tunFound(os.Stat(tunDevice)), doctor.Limited, "/dev/net/tun has mode 0600: permission denied", "sudo chmod 666 /dev/net/tun")
}

func TestDoctorOnWhatAKernelLacks(t *testing.T) {
	answer(t, linkFound("bridge", 0, unix.EOPNOTSUPP), doctor.Missing, "operation not supported", "sudo modprobe bridge")
	answer(t, linkFound("veth", 0, unix.EPERM), doctor.Missing, "operation not permitted", "docker run --privileged")
	answer(t, linkFound("veth", 1000, unix.EPERM), doctor.Unknown, "not root: it cannot be tried", "sudo")
	answer(t, rulesFound(0, errors.New("write the rules of network doctor: no such file or directory")), doctor.Missing,
		"write the rules of network doctor: no such file or directory", "modprobe -a nf_tables")
	answer(t, bridged("", os.ErrNotExist, nil), doctor.OK, "not loaded", "")
	answer(t, bridged("0\n", nil, nil), doctor.OK, "loaded, and off", "")
	answer(t, bridged("1\n", nil, nil), doctor.OK, "on, and no firewall drops what it forwards", "")
	// A kind that no kernel has gives the error that a missing module gives.
	hosttest.Require(t, hosttest.Root)
	r := tryLink(t.Context(), &netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Name: "dd0"}, LinkType: "drydock"})
	answer(t, r, doctor.Missing, "operation not supported", "sudo modprobe drydock")
}
