//go:build linux

package v2

import (
	"slices"
	"strings"
	"testing"

	"drydock.example/03-cgroups/cgroupfs"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func ptr[T any](v T) *T { return &v }

func TestWeightMeetsTheDefaultsAndTheEnds(t *testing.T) {
	for shares, want := range map[uint64]uint64{2: 1, 1024: 100, 262144: 10000, 0: 1, 1 << 40: 10000} {
		if got := Weight(shares); got != want {
			t.Errorf("%d shares: weight %d, want %d", shares, got, want)
		}
	}
	last := uint64(0)
	for shares := uint64(2); shares <= 262144; shares += 61 {
		w := Weight(shares)
		if w < last || w < 1 || w > 10000 {
			t.Fatalf("%d shares: weight %d after %d", shares, w, last)
		}
		last = w
	}
}

// ask runs a device program as the kernel would.
func ask(t *testing.T, program []instruction, kind, access, maj, min uint32) bool {
	t.Helper()
	var r [10]uint32
	ctx := map[int16]uint32{0: access<<16 | kind, 4: maj, 8: min}
	for pc, steps := 0, 0; ; pc, steps = pc+1, steps+1 {
		if pc >= len(program) || steps > 1000 {
			t.Fatalf("the program runs out at %d", pc)
		}
		i := program[pc]
		dst, src := i.registers&15, i.registers>>4
		switch i.code {
		case loadW:
			r[dst] = ctx[i.offset]
		case movReg:
			r[dst] = r[src]
		case movImm:
			r[dst] = uint32(i.immediate)
		case andImm:
			r[dst] &= uint32(i.immediate)
		case rshImm:
			r[dst] >>= uint32(i.immediate)
		case jumpNot:
			if r[dst] != uint32(i.immediate) {
				pc += int(i.offset)
			}
		case jumpIs:
			if r[dst] == uint32(i.immediate) {
				pc += int(i.offset)
			}
		case exit:
			return r[result] == 1
		default:
			t.Fatalf("unknown instruction %#x", i.code)
		}
	}
}

func TestDeviceProgram(t *testing.T) {
	const (
		c, b    = unix.BPF_DEVCG_DEV_CHAR, unix.BPF_DEVCG_DEV_BLOCK
		m, r, w = unix.BPF_DEVCG_ACC_MKNOD, unix.BPF_DEVCG_ACC_READ, unix.BPF_DEVCG_ACC_WRITE
	)
	rule := func(allow bool, kind string, major, minor int64, access string) specs.LinuxDeviceCgroup {
		return specs.LinuxDeviceCgroup{Allow: allow, Type: kind, Major: &major, Minor: &minor, Access: access}
	}
	denyAll := specs.LinuxDeviceCgroup{Access: "rwm"}
	for name, test := range map[string]struct {
		rules                []specs.LinuxDeviceCgroup
		kind, access, ma, mi uint32
		want                 bool
	}{
		"nothing said":              {nil, c, r, 1, 3, true},
		"all denied":                {[]specs.LinuxDeviceCgroup{denyAll}, b, r, 8, 0, false},
		"one allowed":               {[]specs.LinuxDeviceCgroup{denyAll, rule(true, "c", 1, 3, "rwm")}, c, r | w, 1, 3, true},
		"another minor":             {[]specs.LinuxDeviceCgroup{denyAll, rule(true, "c", 1, 3, "rwm")}, c, r, 1, 4, false},
		"the other kind":            {[]specs.LinuxDeviceCgroup{denyAll, rule(true, "c", 1, 3, "rwm")}, b, r, 1, 3, false},
		"any minor":                 {[]specs.LinuxDeviceCgroup{denyAll, rule(true, "c", 136, -1, "rw")}, c, r | w, 136, 77, true},
		"reading is not writing":    {[]specs.LinuxDeviceCgroup{denyAll, rule(true, "b", 8, 0, "r")}, b, r | w, 8, 0, false},
		"two rules add up":          {[]specs.LinuxDeviceCgroup{denyAll, rule(true, "b", 8, 0, "r"), rule(true, "b", 8, 0, "w")}, b, r | w, 8, 0, true},
		"one bit taken back":        {[]specs.LinuxDeviceCgroup{rule(true, "b", 8, 0, "rwm"), rule(false, "b", 8, 0, "w")}, b, r | w, 8, 0, false},
		"the other bits stay":       {[]specs.LinuxDeviceCgroup{rule(true, "b", 8, 0, "rwm"), rule(false, "b", 8, 0, "w")}, b, r | m, 8, 0, true},
		"what comes after all wins": {[]specs.LinuxDeviceCgroup{rule(true, "c", 1, 3, "rwm"), denyAll}, c, r, 1, 3, false},
		"making is not opening":     {[]specs.LinuxDeviceCgroup{denyAll, rule(true, "c", -1, -1, "m")}, c, m, 5, 5, true},
		"all allowed at last":       {[]specs.LinuxDeviceCgroup{denyAll, {Allow: true}}, b, r | w | m, 8, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			program, err := deviceProgram(test.rules)
			if err != nil {
				t.Fatal(err)
			}
			if got := ask(t, program, test.kind, test.access, test.ma, test.mi); got != test.want {
				t.Errorf("allowed: %v", got)
			}
		})
	}
}

func TestControllersOfLimits(t *testing.T) {
	got := Controllers(&specs.LinuxResources{
		Memory: &specs.LinuxMemory{}, CPU: &specs.LinuxCPU{Cpus: "0"}, Pids: &specs.LinuxPids{},
		Unified: map[string]string{"memory.high": "1", "misc.max": "x", "cgroup.freeze": "0"},
	})
	slices.Sort(got)
	if want := "cpu cpuset memory misc pids"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

// What v2 has no file for is refused before anything is written.
func TestLimitsThatOnlyV1Has(t *testing.T) {
	c := &Cgroup{mount: cgroupfs.Mount{Dir: "/nowhere"}, dir: "/nowhere/box"}
	for want, r := range map[string]*specs.LinuxResources{
		"cgroup v2 has no swappiness of its own: memory.swap.max limits swap":                                  {Memory: &specs.LinuxMemory{Swappiness: ptr(uint64(10))}},
		"cgroup v2 has no way to switch the OOM killer off: memory.high throttles before the limit is reached": {Memory: &specs.LinuxMemory{DisableOOMKiller: ptr(true)}},
		"cgroup v2 has no real-time quota: leave realtimeRuntime and realtimePeriod out":                       {CPU: &specs.LinuxCPU{RealtimeRuntime: ptr(int64(1))}},
		`unified key "../x.y": it must be a file's name, as in memory.high`:                                    {Unified: map[string]string{"../x.y": "1"}},
	} {
		if err := c.Set(t.Context(), r); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		} else if !errdefs.IsFailedPrecondition(err) && !errdefs.IsInvalidArgument(err) {
			t.Errorf("%v has no kind", err)
		}
	}
}
