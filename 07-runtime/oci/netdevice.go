//go:build linux

package oci

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// moveNetDevices gives the container links of this network namespace, as
// linux.netDevices asks: each keeps its permanent global addresses and is up
// afterwards (runtime-spec, config-linux.md#network-devices). The kernel takes
// them back, or ends them, when the container's namespace ends.
func moveNetDevices(ctx context.Context, devices map[string]specs.LinuxNetDevice, pid int) error {
	if len(devices) == 0 {
		return nil
	}
	inside, err := netns.GetFromPid(pid)
	if err != nil {
		return fmt.Errorf("linux.netDevices: the network namespace of process %d: %w", pid, err)
	}
	defer inside.Close()
	there, err := netlink.NewHandleAt(inside, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("linux.netDevices: %w", err)
	}
	defer there.Close()
	for _, name := range slices.Sorted(maps.Keys(devices)) {
		if err := moveNetDevice(ctx, name, devices[name].Name, inside, there); err != nil {
			return fmt.Errorf("linux.netDevices: %s: %w", name, err)
		}
	}
	return nil
}

func moveNetDevice(ctx context.Context, name, newName string, inside netns.NsHandle, there *netlink.Handle) error {
	if newName == "" {
		newName = name
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	addresses, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("list its addresses: %w", err)
	}
	before, err := there.LinkList()
	if err != nil {
		return fmt.Errorf("list the container's links: %w", err)
	}
	chapter.Call(ctx, "a link of the host becomes the container's, under its new name at once", "sendto(…, {nlmsg_type=RTM_NEWLINK, ifi_index=%d, IFLA_NET_NS_FD=%d, IFLA_IFNAME=%q})", link.Attrs().Index, int(inside), newName)
	if err := setNamespace(link.Attrs().Index, int(inside), newName); err != nil {
		if errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("the container has a link %s already: give it another name, or one with %%d: %w", newName, err)
		}
		return fmt.Errorf("move it into the container as %s: %w", newName, err)
	}
	moved, err := newcomer(there, before)
	if err != nil {
		return err
	}
	for _, a := range addresses {
		if a.Flags&unix.IFA_F_PERMANENT == 0 || a.Scope != unix.RT_SCOPE_UNIVERSE {
			continue
		}
		chapter.Call(ctx, "the move took its addresses", "sendto(…, {nlmsg_type=RTM_NEWADDR, %s})", a.IPNet)
		if err := there.AddrAdd(moved, &netlink.Addr{IPNet: a.IPNet, Peer: a.Peer, Broadcast: a.Broadcast, Scope: a.Scope}); err != nil {
			return fmt.Errorf("give %s back to it: %w", a.IPNet, err)
		}
	}
	if err := there.LinkSetUp(moved); err != nil {
		return fmt.Errorf("set it up: %w", err)
	}
	return nil
}

// setNamespace moves and renames in one request: its old name may be taken there.
func setNamespace(index, namespace int, name string) error {
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(index)
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(namespace))))
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// newcomer finds the link that has come: the kernel may have chosen its name,
// and another index.
func newcomer(there *netlink.Handle, before []netlink.Link) (netlink.Link, error) {
	now, err := there.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list the container's links: %w", err)
	}
	for _, l := range now {
		if !slices.ContainsFunc(before, func(b netlink.Link) bool { return b.Attrs().Index == l.Attrs().Index }) {
			return l, nil
		}
	}
	return nil, fmt.Errorf("it has not arrived: %w", os.ErrNotExist)
}

// checkNetDevices refuses names that no link can have.
func checkNetDevices(spec *specs.Spec) error {
	devices := spec.Linux.NetDevices
	if len(devices) == 0 {
		return nil
	}
	if !slices.ContainsFunc(spec.Linux.Namespaces, func(ns specs.LinuxNamespace) bool { return ns.Type == specs.NetworkNamespace }) {
		return fmt.Errorf("linux.netDevices: unable to move network devices without a NET namespace: give the container a new one, or the path of one")
	}
	seen := map[string]bool{}
	for name, d := range devices {
		if !linkName(name) {
			return wrong("linux.netDevices", name, "the name of a link: up to 15 characters, no / : or space")
		}
		if d.Name == "" {
			d.Name = name
		}
		if !linkName(d.Name) {
			return wrong("linux.netDevices."+name+".name", d.Name, "the name of a link: up to 15 characters, no / : or space")
		}
		if seen[d.Name] && !strings.Contains(d.Name, "%d") {
			return wrong("linux.netDevices."+name+".name", d.Name, "each name once")
		}
		seen[d.Name] = true
	}
	return nil
}

// linkName is dev_valid_name of the kernel.
func linkName(name string) bool {
	return name != "" && len(name) < unix.IFNAMSIZ && name != "." && name != ".." && !strings.ContainsAny(name, "/: \t\n\v\f\r\x00")
}
