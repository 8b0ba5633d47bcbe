//go:build linux

package oci_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"
	"golang.org/x/sys/unix"
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
