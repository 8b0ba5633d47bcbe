//go:build linux

package oci_test

import (
	"encoding/binary"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	mobyseccomp "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"
	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/hosttest"
	"drydock.example/02-namespaces/seccomp"
	"drydock.example/02-namespaces/seccomp/seccomptest"
	"drydock.example/07-runtime/bundletest"
)

func TestTheFilterOfTheConfigHolds(t *testing.T) {
	b := newBundle(t, "write-file", "/tmp/new", "text")
	b.spec.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{
		Names: []string{"openat"}, Action: specs.ActErrno, ErrnoRet: new(uint(unix.EDQUOT)),
		Args: []specs.LinuxSeccompArg{{Index: 2, Op: specs.OpMaskedEqual, Value: unix.O_CREAT, ValueTwo: unix.O_CREAT}},
	}}}
	if out, _ := b.runtime("run", b.id); !strings.Contains(out, unix.EDQUOT.Error()) {
		t.Errorf("a file was made: %q", out)
	}
	b.spec.Linux.Seccomp.DefaultAction = "SCMP_ACT_MAYBE"
	b.refuses(`linux.seccomp.defaultAction: "SCMP_ACT_MAYBE": want one of`, "run", b.id)
}

// TestAStartHookIsFiltered: its program is a file of the container.
func TestAStartHookIsFiltered(t *testing.T) {
	b := newBundle(t, "exit", "0")
	b.spec.Process.NoNewPrivileges = true
	b.spec.Linux.Seccomp = &specs.LinuxSeccomp{
		DefaultAction: specs.ActAllow,
		Syscalls:      []specs.LinuxSyscall{{Names: []string{"unshare"}, Action: specs.ActKillProcess}},
	}
	b.must("run", b.id)
	b.spec.Hooks = &specs.Hooks{StartContainer: []specs.Hook{{Path: bundletest.Program, Args: []string{"program", "unshare"}}}}
	b.refuses("error running hooks.startContainer[0]: "+bundletest.Program+": signal: bad system call", "run", b.id)
}

func TestFeaturesNameWhatAFilterCanSay(t *testing.T) {
	b := newBundle(t)
	var f features.Features
	if err := json.Unmarshal([]byte(b.must("features")), &f); err != nil {
		t.Fatal(err)
	}
	s := f.Linux.Seccomp
	if s == nil || !*s.Enabled || !slices.Contains(s.Actions, "SCMP_ACT_NOTIFY") || !slices.Contains(s.Operators, "SCMP_CMP_MASKED_EQ") ||
		!slices.Contains(s.KnownFlags, "SECCOMP_FILTER_FLAG_LOG") || len(s.Archs) < 2 {
		t.Errorf("features: %+v", s)
	}
}

// TestFilterIsWhatLibseccompMakes compares the default profile's filter with the one that runc loads,
// as strace shows it, call by call.
func TestFilterIsWhatLibseccompMakes(t *testing.T) {
	hosttest.Require(t, hosttest.Root, hosttest.Program("runc"), hosttest.Program("strace"))
	b := newBundle(t, "exit", "0")
	profile, err := mobyseccomp.GetDefaultProfile(b.spec)
	if err != nil {
		t.Fatal(err)
	}
	b.spec.Linux.Seccomp = profile
	b.command() // writes the bundle
	trace := filepath.Join(t.TempDir(), "trace")
	run := exec.Command("strace", "-f", "-v", "-e", "trace=seccomp,prctl", "-o", trace, "runc", "--root", t.TempDir(), "run", "--bundle", b.dir, b.id)
	if out, err := run.CombinedOutput(); err != nil {
		t.Skipf("runc: %v: %s", err, out)
	}
	text, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	theirs := parseFilter(t, string(text))
	ours, err := seccomp.Compile(profile)
	if err != nil {
		t.Fatal(err)
	}

	r := rand.New(rand.NewPCG(1, 2))
	values := []uint64{0, 2, 8, unix.AF_ALG - 1, unix.AF_ALG, unix.AF_ALG + 1, unix.AF_VSOCK, 1<<32 | unix.AF_ALG, unix.CLONE_NEWUSER, 1<<40 | unix.CLONE_NEWUSER, 0x7e02_0000, 0x2_0008, 0xffff_ffff, 1 << 40}
	executed, calls := [2]int{}, 0
	for _, arch := range seccomp.Architectures() {
		for _, name := range everyName(profile) {
			n, ok := seccomp.Number(arch, name)
			if !ok || n&0xffff > 450 || name == "uretprobe" {
				continue // newer than the libseccomp of 2022
			}
			for range 4 {
				d := seccomptest.Data{Number: n, Arch: seccomptest.Audit(arch)}
				for i := range d.Args {
					d.Args[i] = values[r.IntN(len(values))]
				}
				want, theirSteps, err := seccomptest.Run(theirs, d)
				if err != nil {
					t.Fatal(err)
				}
				got, steps, err := seccomptest.Run(ours, d)
				if err != nil {
					t.Fatal(err)
				}
				if got != want {
					t.Errorf("%s %s%#x: %#x, libseccomp's answers %#x", arch, name, d.Args, got, want)
				}
				executed[0], executed[1], calls = executed[0]+steps, executed[1]+theirSteps, calls+1
			}
		}
	}
	t.Logf("%d and %d instructions, of which a call executes %d and %d", ours.Len(), theirs.Len(), executed[0]/calls, executed[1]/calls)
}

// everyName is what the profile names, and what it does not.
func everyName(p *specs.LinuxSeccomp) []string {
	names := []string{"mount", "keyctl", "unshare", "setns", "bpf", "kexec_load", "reboot", "init_module", "userfaultfd", "clone3", "open_by_handle_at"}
	for _, s := range p.Syscalls {
		names = append(names, s.Names...)
	}
	return names
}

// parseFilter reads the filter that a process loads from the output of strace -v.
func parseFilter(t *testing.T, trace string) *seccomp.Filter {
	t.Helper()
	constants := map[string]uint32{
		"BPF_LD": unix.BPF_LD, "BPF_W": unix.BPF_W, "BPF_ABS": unix.BPF_ABS, "BPF_JMP": unix.BPF_JMP, "BPF_K": unix.BPF_K, "BPF_JEQ": unix.BPF_JEQ, "BPF_JGT": unix.BPF_JGT,
		"BPF_JGE": unix.BPF_JGE, "BPF_JSET": unix.BPF_JSET, "BPF_JA": unix.BPF_JA, "BPF_RET": unix.BPF_RET, "BPF_ALU": unix.BPF_ALU, "BPF_AND": unix.BPF_AND,
		"SECCOMP_RET_ALLOW": unix.SECCOMP_RET_ALLOW, "SECCOMP_RET_ERRNO": unix.SECCOMP_RET_ERRNO, "SECCOMP_RET_KILL_THREAD": unix.SECCOMP_RET_KILL_THREAD,
		"SECCOMP_RET_KILL_PROCESS": unix.SECCOMP_RET_KILL_PROCESS,
	}
	value := func(text string) (v uint32) {
		for part := range strings.SplitSeq(text, "|") {
			n, ok := constants[part]
			if !ok {
				parsed, err := strconv.ParseUint(part, 0, 32)
				if err != nil {
					t.Fatalf("strace prints %q: %v", text, err)
				}
				n = uint32(parsed)
			}
			v |= n
		}
		return v
	}
	_, text, _ := strings.Cut(trace, "filter=[")
	text, _, _ = strings.Cut(text, "]}")
	f := &seccomp.Filter{}
	for _, m := range regexp.MustCompile(`BPF_(?:STMT|JUMP)\(([^)]*)\)`).FindAllStringSubmatch(text, -1) {
		fields := strings.Split(m[1], ", ")
		i := unix.SockFilter{Code: uint16(value(fields[0])), K: value(fields[1])}
		if len(fields) == 4 {
			i.Jt, i.Jf = uint8(value(fields[2])), uint8(value(fields[3]))
		}
		var err error
		if f.Program, err = binary.Append(f.Program, binary.NativeEndian, i); err != nil {
			t.Fatal(err)
		}
	}
	if f.Len() == 0 {
		t.Skipf("strace shows no filter: %.200s", trace)
	}
	return f
}
