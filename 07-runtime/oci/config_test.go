//go:build linux

package oci

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	namespaces "drydock.example/02-namespaces"
	"drydock.example/07-runtime/bundletest"
)

func TestBadConfigsAreRefusedByName(t *testing.T) {
	for _, test := range []struct {
		change func(*specs.Spec)
		want   string
	}{
		{func(s *specs.Spec) { s.Version = "" }, `ociVersion: "": want a version like`},
		{func(s *specs.Spec) { s.Version = "1" }, `ociVersion: "1": want a version like`},
		{func(s *specs.Spec) { s.Version = "2.0.0" }, `ociVersion: "2.0.0": want 1.x.y`},
		{func(s *specs.Spec) { s.Root = nil }, "root.path: missing"},
		{func(s *specs.Spec) { s.Root.Path = "nowhere" }, "root.path: stat "},
		{func(s *specs.Spec) { s.Root.Path = "config.json" }, "is not a directory"},
		{func(s *specs.Spec) { s.Process.Args = nil }, "process.args: empty"},
		{func(s *specs.Spec) { s.Process.Cwd = "tmp" }, `process.cwd: "tmp": want an absolute path`},
		{func(s *specs.Spec) { s.Process.Env = []string{"A=1", "B"} }, `process.env[1]: "B": want NAME=value`},
		{func(s *specs.Spec) { s.Process.Args = []string{"a\x00b"} }, `process.args[0]: "a\x00b": want text without NUL`},
		{func(s *specs.Spec) { s.Process.Rlimits = []specs.POSIXRlimit{{Type: "NOFILE"}} }, `process.rlimits[0].type: "NOFILE"`},
		{func(s *specs.Spec) { s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_CPU", Soft: 2, Hard: 1}} }, `process.rlimits[0].soft: 2: want no more than hard, 1`},
		{func(s *specs.Spec) { s.Mounts[0].Destination = "" }, "mounts[0].destination: missing"},
		{func(s *specs.Spec) { s.Annotations = map[string]string{namespaces.InitAnnotation: "yes"} }, `annotations[drydock.init]: "yes": want "true" or "false"`},
		{func(s *specs.Spec) {
			s.Annotations = map[string]string{namespaces.InitAnnotation: "true"}
			s.Linux.Namespaces = s.Linux.Namespaces[1:]
		}, `annotations[drydock.init]: "true": want a new pid namespace`},
		{func(s *specs.Spec) { s.Linux = nil }, "linux: missing"},
		{func(s *specs.Spec) { s.Linux.RootfsPropagation = "wide" }, `linux.rootfsPropagation: "wide"`},
		{func(s *specs.Spec) { s.Linux.MaskedPaths = []string{"proc"} }, `linux.maskedPaths[0]: "proc": want an absolute path`},
		{func(s *specs.Spec) { s.Linux.Namespaces[0].Type = "space" }, `linux.namespaces[0].type: "space": want one of pid`},
		{func(s *specs.Spec) { s.Linux.Namespaces[1].Type = "pid" }, `linux.namespaces[1].type: "pid": want each type once`},
		{func(s *specs.Spec) { s.Linux.Namespaces[0].Path = "ns" }, `linux.namespaces[0].path: "ns"`},
		{func(s *specs.Spec) { s.Linux.Namespaces = s.Linux.Namespaces[:3] }, `hostname: "bundle": want a uts namespace`},
		{func(s *specs.Spec) { s.Linux.UIDMappings = []specs.LinuxIDMapping{{}} }, "linux.uidMappings: want a user namespace"},
		{func(s *specs.Spec) { s.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/x", Type: "x"}} }, `linux.devices[0].type: "x"`},
		{func(s *specs.Spec) { s.Linux.NetDevices = map[string]specs.LinuxNetDevice{"much-too-long-a-name": {}} }, `linux.netDevices: "much-too-long-a-name": want the name of a link`},
		{func(s *specs.Spec) {
			s.Linux.NetDevices = map[string]specs.LinuxNetDevice{"a": {Name: "x"}, "b": {Name: "x"}}
		}, `want each name once`},
		{func(s *specs.Spec) { s.Hooks = &specs.Hooks{Poststop: []specs.Hook{{Path: "true"}}} }, `hooks.poststop[0].path: "true": want an absolute path`},
	} {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "rootfs"), 0o755); err != nil {
			t.Fatal(err)
		}
		spec := bundletest.Spec("/x", "true")
		test.change(spec)
		bundletest.Write(t, dir, spec)
		if _, err := ReadConfig(dir); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("error %v, want %q", err, test.want)
		}
	}
}

func TestConfigThatIsNoConfig(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"", "not JSON"},
		{"{\n\"ociVersion\": \"1.0.0\",\n}", "line 3: not JSON"},
		{`{"process": {"args": "true"}}`, "process.args: a JSON string stands there, want []string"},
		{`{"linux": {"resources": {"memory": {"limit": "64m"}}}}`, "linux.resources.memory.limit: a JSON string stands there, want int64"},
		{`[]`, "a JSON array stands there"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, ConfigFile), []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadConfig(dir); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q", test.text, err, test.want)
		}
	}
	if _, err := ReadConfig(t.TempDir()); err == nil || !strings.Contains(err.Error(), "config.json not found") {
		t.Errorf("no config: %v", err)
	}
}

// TestParseConfigReadsWhatUnmarshalReads holds the two-step decoding against
// the plain one: no field of the specification may be forgotten.
func TestParseConfigReadsWhatUnmarshalReads(t *testing.T) {
	want := &specs.Spec{}
	fill(reflect.ValueOf(want).Elem())
	// Other systems' sections are not this runtime's.
	want.Solaris, want.Windows, want.VM, want.ZOS, want.FreeBSD = nil, nil, nil, nil, nil
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseConfig(text)
	if err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if string(again) != string(text) {
		t.Errorf("read:\n%s\nwant:\n%s", again, text)
	}
}

// fill sets every field to something that is not its zero value.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				fill(v.Field(i))
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key)
		fill(value)
		v.SetMapIndex(key, value)
	case reflect.String:
		v.SetString("s")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Interface:
		v.Set(reflect.ValueOf("s"))
	default:
		v.Set(reflect.ValueOf(1).Convert(v.Type()))
	}
}

func FuzzConfig(f *testing.F) {
	spec := bundletest.Spec("/x", "true")
	text, err := json.Marshal(spec)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"ociVersion":"1.0.0","linux":{"resources":{}},"hooks":null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if spec, err := parseConfig(text); err == nil && validate(spec) == nil {
			cgroupPath(spec, "id")
		}
	})
}

func FuzzState(f *testing.F) {
	f.Add([]byte(`{"ociVersion":"1.3.0","id":"x","pid":1,"startTime":1,"cgroup":"/x","cgroupMade":true}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c := container{dir: "/nowhere"}
		if parseState(text, &c.record) == nil {
			c.state()
		}
	})
}
