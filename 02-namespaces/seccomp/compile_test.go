//go:build linux

package seccomp_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"drydock.example/02-namespaces/seccomp"
	"drydock.example/02-namespaces/seccomp/seccomptest"
)

// someNames are calls of all ages, of all architectures and of none.
var someNames = []string{
	"read", "write", "open", "close", "mmap", "clone", "execve", "socket", "personality", "fork", "ptrace", "mount", "exit", "exit_group", "openat", "getpid",
	"clone3", "faccessat2", "landlock_create_ruleset", "futex_waitv", "ioctl", "rt_sigaction", "socketcall", "ipc", "waitpid", "mmap2", "set_tls", "cacheflush",
	"stat64", "nosuchcall", "", "madvise", "keyctl", "bpf", "chown32", "fchmodat2", "io_uring_setup", "newfstatat", "arm_fadvise64_64",
}

func randomProfile(r *rand.Rand) *specs.LinuxSeccomp {
	action := func(list []specs.LinuxSeccompAction) (specs.LinuxSeccompAction, *uint) {
		a := list[r.IntN(len(list))]
		if (a == specs.ActErrno || a == specs.ActTrace) && r.IntN(2) == 0 {
			return a, new(uint(r.IntN(100)))
		}
		return a, nil
	}
	p := &specs.LinuxSeccomp{ListenerPath: "/run/listener"}
	p.DefaultAction, p.DefaultErrnoRet = action(slices.DeleteFunc(seccomp.Actions(), func(a specs.LinuxSeccompAction) bool { return a == specs.ActNotify }))
	for _, a := range append(seccomp.Architectures(), specs.ArchS390X) {
		if r.IntN(2) == 0 {
			p.Architectures = append(p.Architectures, a)
		}
	}
	for range r.IntN(40) {
		var s specs.LinuxSyscall
		for range 1 + r.IntN(5) {
			s.Names = append(s.Names, someNames[r.IntN(len(someNames))])
		}
		if s.Action, s.ErrnoRet = action(seccomp.Actions()); s.Action == specs.ActNotify {
			s.Names = slices.DeleteFunc(s.Names, func(n string) bool { return n == "write" })
			s.Names = append(s.Names, "getpid")
		}
		if r.IntN(2) == 0 {
			for range 1 + r.IntN(3) {
				s.Args = append(s.Args, specs.LinuxSeccompArg{
					Index: uint(r.IntN(6)), Op: seccomp.Operators()[r.IntN(len(seccomp.Operators()))], Value: someValue(r), ValueTwo: someValue(r),
				})
			}
		}
		p.Syscalls = append(p.Syscalls, s)
	}
	return p
}

// someValue is one of few numbers, so that values meet, whose halves are few
// numbers too.
func someValue(r *rand.Rand) uint64 {
	halves := []uint64{0, 1, 2, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x2000_0000}
	return halves[r.IntN(len(halves))]<<32*uint64(r.IntN(2)) | halves[r.IntN(len(halves))]
}

// someCall is a call that the profile may have an answer for.
func someCall(r *rand.Rand, p *specs.LinuxSeccomp) seccomptest.Data {
	archs := seccomp.Architectures()
	arch := archs[r.IntN(len(archs))]
	d := seccomptest.Data{Arch: seccomptest.Audit(arch), Number: uint32(r.IntN(600)), IP: r.Uint64()}
	switch r.IntN(10) {
	case 0:
		d.Number = []uint32{^uint32(0), 1 << 30, 1<<30 - 1, 0xf0000, 0xf0005, 0xf0006, 1<<30 | 0xf0001, 1<<31 - 1, 1 << 31}[r.IntN(9)]
	case 1:
		d.Arch = r.Uint32()
	case 2:
		d.Number |= 1 << 30
	default:
		if len(p.Syscalls) > 0 {
			names := p.Syscalls[r.IntN(len(p.Syscalls))].Names
			if n, ok := seccomp.Number(arch, names[r.IntN(len(names))]); ok {
				d.Number = n
			}
		}
	}
	for i := range d.Args {
		d.Args[i] = someValue(r)
	}
	// Half of the calls are made for some rule: random arguments seldom agree with three at once.
	if len(p.Syscalls) > 0 {
		for _, a := range p.Syscalls[r.IntN(len(p.Syscalls))].Args {
			d.Args[a.Index] = a.Value + uint64(r.IntN(3)) - 1
			if a.Op == specs.OpMaskedEqual {
				d.Args[a.Index] = a.ValueTwo | ^a.Value&someValue(r)
			}
		}
	}
	return d
}

func agree(t *testing.T, p *specs.LinuxSeccomp, f *seccomp.Filter, d seccomptest.Data) {
	t.Helper()
	got, _, err := seccomptest.Run(f, d)
	if err != nil {
		t.Fatal(err)
	}
	if want := seccomptest.Decide(p, d); got != want {
		text, _ := json.Marshal(p)
		t.Fatalf("%#x: the filter answers %#x, the profile %#x: %s", d, got, want, text)
	}
}

func TestTheFilterAnswersAsTheProfileDoes(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 100 {
		p := randomProfile(r)
		f, err := seccomp.Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		for range 40 {
			agree(t, p, f, someCall(r, p))
		}
	}
}

// TestALongFilterJumpsFar has so many rules that no conditional jump reaches from one end to the other.
func TestALongFilterJumpsFar(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	p := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Architectures: seccomp.Architectures()}
	for i, name := range someNames {
		for v := range 8 {
			p.Syscalls = append(p.Syscalls, specs.LinuxSyscall{Names: []string{name}, Action: specs.ActErrno, ErrnoRet: new(uint(v)), Args: []specs.LinuxSeccompArg{
				{Index: uint(i % 6), Op: specs.OpGreaterEqual, Value: uint64(v) << 32}, {Index: uint(v % 6), Op: specs.OpMaskedEqual, Value: 0xff00ff, ValueTwo: uint64(v)},
			}})
		}
	}
	f, err := seccomp.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	if f.Len() < 1500 {
		t.Errorf("the filter has %d instructions: too few for this test", f.Len())
	}
	for range 300 {
		agree(t, p, f, someCall(r, p))
	}
}

func FuzzProfile(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		b, err := json.Marshal(randomProfile(r))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, r.Uint64())
	}
	f.Fuzz(func(t *testing.T, b []byte, seed uint64) {
		var p specs.LinuxSeccomp
		if json.Unmarshal(b, &p) != nil {
			return
		}
		filter, err := seccomp.Compile(&p)
		if err != nil {
			return
		}
		r := rand.New(rand.NewPCG(seed, 0))
		for range 100 {
			agree(t, &p, filter, someCall(r, &p))
		}
	})
}

func TestErrorsNameTheField(t *testing.T) {
	for _, c := range []struct {
		profile, want string
	}{
		{`{}`, `linux.seccomp.defaultAction: "": want one of ["SCMP_ACT_KILL" `},
		{`{"defaultAction":"SCMP_ACT_ALLOW","defaultErrnoRet":1}`, `linux.seccomp.defaultErrnoRet: 1: SCMP_ACT_ALLOW returns no errno: remove it`},
		{`{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":4096}`, `linux.seccomp.defaultErrnoRet: 4096: want an errno, 0 to 4095`},
		{`{"defaultAction":"SCMP_ACT_NOTIFY"}`, `linux.seccomp.defaultAction: "SCMP_ACT_NOTIFY": a process that waits`},
		{`{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_S390X","VAX"]}`, `linux.seccomp.architectures[1]: "VAX": want a name like "SCMP_ARCH_`},
		{`{"defaultAction":"SCMP_ACT_ERRNO","flags":["FAST"]}`, `linux.seccomp.flags[0]: "FAST": want one of`},
		{`{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"ALLOW"}]}`, `linux.seccomp.syscalls[0].action: "ALLOW": want one of`},
		{`{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"action":"SCMP_ACT_ALLOW"}]}`, `linux.seccomp.syscalls[0].names: empty`},
		{`{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_KILL","errnoRet":5}]}`, `linux.seccomp.syscalls[0].errnoRet: 5: SCMP_ACT_KILL returns no errno`},
		{`{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":6,"value":1,"op":"SCMP_CMP_EQ"}]}]}`, `linux.seccomp.syscalls[0].args[0].index: 6: a system call has 6 arguments`},
		{`{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":1,"op":"=="}]}]}`, `linux.seccomp.syscalls[0].args[0].op: "==": want one of`},
		{`{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_NOTIFY"}]}`, `linux.seccomp.listenerPath: missing`},
		{`{"defaultAction":"SCMP_ACT_ERRNO","listenerPath":"/x","syscalls":[{"names":["write"],"action":"SCMP_ACT_NOTIFY"}]}`, `linux.seccomp.syscalls[0]: SCMP_ACT_NOTIFY cannot be used for the write syscall`},
	} {
		var p specs.LinuxSeccomp
		if err := json.Unmarshal([]byte(c.profile), &p); err != nil {
			t.Fatal(err)
		}
		if _, err := seccomp.Compile(&p); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.profile, err, c.want)
		}
	}
}

// TestTheTableIsTheKernels compares the numbers with the kernel's own headers, where they are installed.
func TestTheTableIsTheKernels(t *testing.T) {
	for arch, file := range map[specs.Arch]string{specs.ArchX86_64: "unistd_64.h", specs.ArchX32: "unistd_x32.h", specs.ArchX86: "unistd_32.h"} {
		b, err := os.ReadFile("/usr/include/x86_64-linux-gnu/asm/" + file)
		if err != nil {
			t.Skip(err)
		}
		if !slices.Contains(seccomp.Architectures(), arch) {
			t.Skip("headers of another architecture")
		}
		for line := range strings.Lines(string(b)) {
			rest, ok := strings.CutPrefix(line, "#define __NR_")
			if !ok {
				continue
			}
			name, value, _ := strings.Cut(strings.TrimSpace(rest), " ")
			var want uint32
			value = strings.Trim(value, "()")
			if v, ok := strings.CutPrefix(value, "__X32_SYSCALL_BIT + "); ok {
				value, want = v, 1<<30
			}
			var n uint32
			if _, err := fmt.Sscan(value, &n); err != nil {
				t.Errorf("%s: %q: %v", file, line, err)
			}
			if got, ok := seccomp.Number(arch, name); !ok || got != want+n {
				t.Errorf("%s: %s is %d, want %d", arch, name, got, want+n)
			}
		}
	}
}

func TestFlags(t *testing.T) {
	for _, c := range []struct {
		flags []specs.LinuxSeccompFlag
		want  uint
	}{
		{nil, unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW},
		{[]specs.LinuxSeccompFlag{}, 0},
		{seccomp.Flags(), unix.SECCOMP_FILTER_FLAG_TSYNC | unix.SECCOMP_FILTER_FLAG_LOG | unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV},
	} {
		f, err := seccomp.Compile(&specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Flags: c.flags})
		if err != nil {
			t.Fatal(err)
		}
		if f.Flags != c.want {
			t.Errorf("%q: flags %#x, want %#x", c.flags, f.Flags, c.want)
		}
	}
}
