//go:build linux

package systemd

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/godbus/dbus/v5"
	"github.com/opencontainers/runtime-spec/specs-go"

	v2files "drydock.example/03-cgroups/v2"
)

// A Property is one of a unit (systemd.resource-control(5)).
type Property struct {
	Name  string
	Value dbus.Variant
}

// defaultPeriod is the kernel's own period of a CPU quota, in µs.
const defaultPeriod = 100_000

// Limits returns the properties for those limits that systemd knows, on cgroup
// v2 or on v1.
func Limits(r *specs.LinuxResources, v2 bool) []Property {
	var list []Property
	add := func(name string, value any) { list = append(list, Property{name, dbus.MakeVariant(value)}) }
	if r == nil {
		return nil
	}
	if m := r.Memory; m != nil {
		limit := "MemoryLimit"
		if v2 {
			limit = "MemoryMax"
		}
		if m.Limit != nil && *m.Limit != 0 {
			add(limit, unlimited(*m.Limit))
		}
		if v2 && m.Reservation != nil && *m.Reservation != 0 {
			add("MemoryLow", unlimited(*m.Reservation))
		}
		if v2 && m.Swap != nil && *m.Swap != 0 {
			// The specification's limit is of memory and swap together.
			swap := *m.Swap
			if swap > 0 && m.Limit != nil && *m.Limit > 0 {
				swap = max(swap-*m.Limit, 0)
			}
			add("MemorySwapMax", unlimited(swap))
		}
	}
	if c := r.CPU; c != nil {
		if c.Shares != nil && *c.Shares != 0 {
			if v2 {
				add("CPUWeight", v2files.Weight(*c.Shares))
			} else {
				add("CPUShares", *c.Shares)
			}
		}
		list = append(list, quota(c)...)
		if v2 && c.Cpus != "" {
			if mask, err := bitmask(c.Cpus); err == nil {
				add("AllowedCPUs", mask)
			}
		}
		if v2 && c.Mems != "" {
			if mask, err := bitmask(c.Mems); err == nil {
				add("AllowedMemoryNodes", mask)
			}
		}
	}
	if io := r.BlockIO; io != nil && io.Weight != nil && *io.Weight != 0 && !v2 {
		add("BlockIOWeight", uint64(*io.Weight))
	}
	if p := r.Pids; p != nil && p.Limit != nil && *p.Limit != 0 {
		add("TasksMax", unlimited(*p.Limit))
	}
	return append(list, devices(r.Devices)...)
}

// unlimited is a limit as systemd writes it: its infinity is the largest number.
func unlimited(n int64) uint64 {
	if n < 0 {
		return math.MaxUint64
	}
	return uint64(n)
}

// quota is the CPU time in each second, which systemd rounds to whole 10 ms.
func quota(c *specs.LinuxCPU) []Property {
	if c.Quota == nil || *c.Quota == 0 {
		return nil
	}
	period := uint64(defaultPeriod)
	var list []Property
	if c.Period != nil && *c.Period != 0 {
		period = *c.Period
		list = append(list, Property{"CPUQuotaPeriodUSec", dbus.MakeVariant(period)})
	}
	perSecond := uint64(math.MaxUint64)
	if *c.Quota > 0 {
		const unit = 10_000
		perSecond = uint64(*c.Quota) * 1_000_000 / period
		perSecond = (perSecond + unit - 1) / unit * unit
	}
	return append(list, Property{"CPUQuotaPerSecUSec", dbus.MakeVariant(perSecond)})
}

// bitmask turns "0-2,4" into systemd's form: bytes, the lowest bits first.
func bitmask(list string) ([]byte, error) {
	var mask []byte
	for part := range strings.SplitSeq(list, ",") {
		from, to, ranged := strings.Cut(strings.TrimSpace(part), "-")
		first, err := strconv.ParseUint(from, 10, 13)
		last := first
		if err == nil && ranged {
			last, err = strconv.ParseUint(to, 10, 13)
		}
		if err != nil || last < first {
			return nil, fmt.Errorf("%q: want numbers and ranges like 0-2,4", list)
		}
		for n := first; n <= last; n++ {
			for uint64(len(mask)*8) <= n {
				mask = append(mask, 0)
			}
			mask[n/8] |= 1 << (n % 8)
		}
	}
	return mask, nil
}

// A deviceRule is an entry of DeviceAllow: a node, or a group of /proc/devices.
type deviceRule struct{ Node, Access string }

// devices lets systemd keep to the same rules as the container's own filter, or
// it would allow all again when it applies the unit's properties.
func devices(rules []specs.LinuxDeviceCgroup) []Property {
	if len(rules) == 0 {
		return nil
	}
	policy, allow := "strict", []deviceRule{}
	for _, r := range rules {
		everything := (r.Type == "" || r.Type == "a") && wildcard(r.Major) && wildcard(r.Minor)
		switch {
		case everything && r.Allow:
			policy, allow = "auto", nil // systemd's word for all devices
		case everything:
			policy, allow = "strict", []deviceRule{}
		case r.Allow && policy == "strict":
			allow = append(allow, deviceNames(r)...)
		}
	}
	list := []Property{{"DevicePolicy", dbus.MakeVariant(policy)}}
	if len(allow) > 0 {
		list = append(list, Property{"DeviceAllow", dbus.MakeVariant(allow)})
	}
	return list
}

func wildcard(n *int64) bool { return n == nil || *n < 0 }

// deviceNames says a rule in systemd's words, which knows devices by their node
// or by their driver's name.
func deviceNames(r specs.LinuxDeviceCgroup) []deviceRule {
	kind := map[string]string{"c": "char", "u": "char", "b": "block"}[r.Type]
	if kind == "" {
		return nil
	}
	access := r.Access
	switch {
	case wildcard(r.Major):
		return []deviceRule{{kind + "-*", access}}
	case wildcard(r.Minor):
		name := driver(kind, *r.Major)
		if name == "" {
			return nil // nothing here has that number
		}
		return []deviceRule{{kind + "-" + name, access}}
	}
	return []deviceRule{{path.Join("/dev", kind, fmt.Sprintf("%d:%d", *r.Major, *r.Minor)), access}}
}

// driver returns the name that /proc/devices has for a major number.
func driver(kind string, major int64) string {
	b, err := os.ReadFile("/proc/devices")
	if err != nil {
		return ""
	}
	section := ""
	for line := range bytes.Lines(b) {
		switch f := strings.Fields(string(line)); {
		case len(f) == 2 && f[1] == "devices:":
			section = map[string]string{"Character": "char", "Block": "block"}[f[0]]
		case len(f) == 2 && section == kind && f[0] == strconv.FormatInt(major, 10):
			return f[1]
		}
	}
	return ""
}

// Annotated returns the properties that a config's annotations ask for, such as
// "org.systemd.property.TimeoutStopUSec": "uint64 123456789": values in
// GVariant's text form.
func Annotated(annotations map[string]string) ([]Property, error) {
	const prefix = "org.systemd.property."
	var list []Property
	for key, text := range annotations {
		name, ok := strings.CutPrefix(key, prefix)
		if !ok {
			continue
		}
		v, err := dbus.ParseVariant(text, dbus.Signature{})
		if seconds, ok := strings.CutSuffix(name, "Sec"); err == nil && ok && !strings.HasSuffix(name, "USec") {
			// On the bus systemd's times are in µs, and their names say so.
			name = seconds + "USec"
			v, err = microseconds(text)
		}
		if err != nil {
			return nil, fmt.Errorf("annotation %s: %q is not a value as gvariant writes it: %w", key, text, err)
		}
		list = append(list, Property{name, v})
	}
	slices.SortFunc(list, func(a, b Property) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

func microseconds(text string) (dbus.Variant, error) {
	_, number, typed := strings.Cut(strings.TrimSpace(text), " ") // "uint64 3"
	if !typed {
		number = text
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err == nil && n < 0 {
		err = strconv.ErrRange
	}
	if err != nil {
		return dbus.Variant{}, err
	}
	return dbus.MakeVariant(uint64(n * 1e6)), nil
}
