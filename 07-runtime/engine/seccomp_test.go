//go:build linux

package engine

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	mobyseccomp "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	namespaces "drydock.example/02-namespaces"
	"drydock.example/02-namespaces/seccomp"
	"drydock.example/02-namespaces/seccomp/seccomptest"
)

// TestSystemCallFilter shows the filter by a call that any process may make of the kernel, and that
// the engine's own profile denies: keyctl(2).
func TestSystemCallFilter(t *testing.T) {
	e := open(t)
	const profile = `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["keyctl"], "action": "SCMP_ACT_ERRNO", "errnoRet": 18}]}`
	for _, c := range []struct {
		options []string
		want    string
	}{
		{nil, "keyctl: operation not permitted, filters 1, no_new_privs 0"},
		{[]string{"no-new-privileges"}, "keyctl: operation not permitted, filters 1, no_new_privs 1"},
		{[]string{"seccomp=unconfined", "apparmor=unconfined"}, "keyctl: <nil>, filters 0, no_new_privs 0"},
		{[]string{"seccomp=" + profile}, "keyctl: invalid cross-device link, filters 1, no_new_privs 0"},
		{[]string{"seccomp:" + profile, "no-new-privileges:true"}, "keyctl: invalid cross-device link, filters 1, no_new_privs 1"},
	} {
		req := request("filter")
		req.HostConfig.SecurityOpt = c.options
		if _, out, stderr, code := runToEnd(t, e, req); strings.TrimSpace(out) != c.want || code != 0 {
			t.Errorf("%q: %q, %q, status %d, want %q", c.options, out, stderr, code, c.want)
		}
	}
}

func TestSecurityOptions(t *testing.T) {
	for option, want := range map[string]string{
		"seccomp":                                `invalid --security-opt 1: "seccomp"`,
		"magic=on":                               `invalid --security-opt 2: "magic=on"`,
		"apparmor=docker-default":                "--security-opt apparmor=docker-default: apparmor is not supported by this engine",
		"seccomp=/etc/profile.json":              "--security-opt seccomp: Decoding seccomp profile failed: invalid character",
		`seccomp={"defaultAction":"SCMP_MAYBE"}`: `--security-opt seccomp: linux.seccomp.defaultAction: "SCMP_MAYBE": want one of`,
	} {
		err := checkSecurity(&container.HostConfig{SecurityOpt: []string{option}})
		if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", option, err, want)
		}
	}
}

func defaultProfile(t testing.TB, capabilities ...string) *specs.LinuxSeccomp {
	t.Helper()
	spec := namespaces.NewSpec("/", "none")
	spec.Process.Capabilities.Bounding = append(capabilities, spec.Process.Capabilities.Bounding...)
	p, err := mobyseccomp.GetDefaultProfile(spec)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestTheDefaultProfileIsWhatItsFilterAnswers, for each call of each architecture.
func TestTheDefaultProfileIsWhatItsFilterAnswers(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, capabilities := range [][]string{nil, {"CAP_SYS_ADMIN", "CAP_BPF"}} {
		p := defaultProfile(t, capabilities...)
		f, err := seccomp.Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		for _, arch := range seccomp.Architectures() {
			first := uint32(0)
			if arch == specs.ArchX32 {
				first = 1 << 30
			}
			for n := range uint32(600) {
				d := seccomptest.Data{Number: first + n, Arch: seccomptest.Audit(arch)}
				for i := range d.Args {
					d.Args[i] = []uint64{0, 8, unix.AF_INET, unix.AF_ALG, unix.AF_VSOCK, unix.CLONE_NEWUSER, unix.CLONE_VM | unix.CLONE_VFORK, 0x20008, 0xffff_ffff, 1 << 40}[r.IntN(10)]
				}
				got, _, err := seccomptest.Run(f, d)
				if err != nil {
					t.Fatal(err)
				}
				if want := seccomptest.Decide(p, d); got != want {
					t.Errorf("%s: %#x: the filter answers %#x, the profile %#x", arch, d, got, want)
				}
			}
		}
	}
}

// BenchmarkFilter compiles the default profile, and counts what a system call costs: instructions
// of the filter, on average over all calls of the machine's own architecture.
func BenchmarkFilter(b *testing.B) {
	p := defaultProfile(b)
	var f *seccomp.Filter
	for b.Loop() {
		var err error
		if f, err = seccomp.Compile(p); err != nil {
			b.Fatal(err)
		}
	}
	const calls = 450
	total, most := 0, 0
	for n := range uint32(calls) {
		_, steps, err := seccomptest.Run(f, seccomptest.Data{Number: n, Arch: seccomptest.Audit(seccomp.Architectures()[0])})
		if err != nil {
			b.Fatal(err)
		}
		total += steps
		most = max(most, steps)
	}
	b.ReportMetric(float64(f.Len()), "instructions")
	b.ReportMetric(float64(total)/calls, "executed/call")
	b.ReportMetric(float64(most), "executed/most")
}
