//go:build linux

package namespaces

import (
	"bufio"
	"bytes"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"drydock.example/02-namespaces/seccomp"
)

func TestCodec(t *testing.T) {
	spec := NewSpec("/root", "program", "", "ä")
	spec.Linux.Sysctl = map[string]string{"net.ipv4.ip_forward": "1"}
	spec.Process.OOMScoreAdj = new(-5)
	spec.Process.ConsoleSize = &specs.Box{Height: 24, Width: 80}
	spec.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_CORE", Soft: 1, Hard: 1<<64 - 1}}
	spec.Mounts = append(spec.Mounts, specs.Mount{Destination: strings.Repeat("long", 100000)})
	s := newSetup(spec, Options{Bound: true, State: &specs.State{ID: "x", Annotations: map[string]string{"a": "b"}}})
	s.Seccomp = &filter{Filter: &seccomp.Filter{Program: []byte{1, 2, 3}, Flags: 8}}
	var b bytes.Buffer
	e := encoder{&b}
	for _, m := range []message{{Setup: s}, {Error: "no", NotFound: true}, {}} {
		if err := e.Encode(m); err != nil {
			t.Fatal(err)
		}
	}
	whole := b.Bytes()
	d := decoder{bufio.NewReader(&b)}
	var got message
	if err := d.Decode(&got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Setup, s) {
		t.Errorf("got  %+v\nwant %+v", got.Setup, s)
	}
	if err := d.Decode(&got); err != nil || got.Error != "no" || !got.NotFound {
		t.Errorf("%+v %v", got, err)
	}
	if err := d.Decode(new(message)); err != nil {
		t.Error(err)
	}
	if err := d.Decode(&got); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	for n := 1; n < 3000; n += 7 {
		if err := (decoder{bufio.NewReader(bytes.NewReader(whole[:n]))}).Decode(new(message)); err != io.ErrUnexpectedEOF {
			t.Fatalf("cut off after %d bytes: %v", n, err)
		}
	}
	if err := e.Encode(struct{ F func() }{}); err == nil || err.Error() != "F.a func() cannot be handed over" {
		t.Errorf("a function: %v", err)
	}
}
