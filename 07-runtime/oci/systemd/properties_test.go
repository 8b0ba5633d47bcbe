//go:build linux

package systemd

import (
	"reflect"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

func TestParse(t *testing.T) {
	for in, want := range map[string]Unit{
		"":                         {Name: "drydock-box.scope", Slice: "system.slice"},
		"a-b.slice:docker:x":       {Name: "docker-x.scope", Slice: "a-b.slice"},
		"::x":                      {Name: "x.scope", Slice: "system.slice"},
		"lab.slice:docker:p.slice": {Name: "p.slice", Slice: "lab.slice"},
	} {
		if got, err := Parse(in, "box", false); err != nil || got != want {
			t.Errorf("%q: %+v, %v, want %+v", in, got, err, want)
		}
	}
	if got, _ := Parse("", "box", true); got.Slice != "user.slice" || !got.User {
		t.Errorf("of a user: %+v", got)
	}
}

func TestExpand(t *testing.T) {
	for in, want := range map[string]string{"-.slice": "/", "system.slice": "/system.slice", "a-b-c.slice": "/a.slice/a-b.slice/a-b-c.slice"} {
		if got, err := expand(in); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", in, got, err, want)
		}
	}
}

func TestLimits(t *testing.T) {
	r := &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: new(int64(100)), Reservation: new(int64(50)), Swap: new(int64(150))},
		CPU:    &specs.LinuxCPU{Shares: new(uint64(1024)), Quota: new(int64(33_333)), Cpus: "0-2,9", Mems: "1"},
		Pids:   &specs.LinuxPids{Limit: new(int64(-1))},
		Devices: []specs.LinuxDeviceCgroup{
			{Allow: false, Access: "rwm"},
			{Allow: true, Type: "c", Major: new(int64(1)), Minor: new(int64(3)), Access: "rw"},
			{Allow: true, Type: "b", Access: "m"},
			{Allow: true, Type: "c", Major: new(int64(1)), Access: "r"},
		},
	}
	want := map[string]any{
		"MemoryMax": uint64(100), "MemoryLow": uint64(50), "MemorySwapMax": uint64(50), "CPUWeight": uint64(100),
		"CPUQuotaPerSecUSec": uint64(340_000), "AllowedCPUs": []byte{7, 2}, "AllowedMemoryNodes": []byte{2}, "TasksMax": ^uint64(0),
		"DevicePolicy": "strict", "DeviceAllow": []deviceRule{{"/dev/char/1:3", "rw"}, {"block-*", "m"}, {"char-mem", "r"}},
	}
	got := map[string]any{}
	for _, p := range Limits(r, true) {
		got[p.Name] = p.Value.Value()
	}
	for name, value := range want {
		if !reflect.DeepEqual(got[name], value) {
			t.Errorf("%s: %v, want %v", name, got[name], value)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %v", got)
	}
	got = map[string]any{}
	for _, p := range Limits(r, false) {
		got[p.Name] = p.Value.Value()
	}
	if got["MemoryLimit"] != uint64(100) || got["CPUShares"] != uint64(1024) || got["AllowedCPUs"] != nil {
		t.Errorf("on v1: %v", got)
	}
}
