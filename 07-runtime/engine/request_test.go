//go:build linux

package engine

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"golang.org/x/sys/unix"
)

// supported are the HostConfig fields that the engine does something about, or that are the
// client's own.
var supported = map[string]bool{
	"Binds": true, "ContainerIDFile": true, "NetworkMode": true, "PortBindings": true, "AutoRemove": true, "ConsoleSize": true,
	"ExtraHosts": true, "PublishAllPorts": true, "ReadonlyRootfs": true, "Init": true, "ShmSize": true, "SecurityOpt": true,
	"CPUShares": true, "Memory": true, "NanoCPUs": true, "CPUPeriod": true, "CPUQuota": true, "MemorySwap": true, "PidsLimit": true,
}

// Every field of a HostConfig is either done or refused, also those that a later API brings.
func TestEveryHostConfigFieldIsDoneOrRefused(t *testing.T) {
	var fields func(v reflect.Value)
	var h container.HostConfig
	fields = func(v reflect.Value) {
		for i := range v.NumField() {
			f, field := v.Type().Field(i), v.Field(i)
			if f.Anonymous {
				fields(field)
				continue
			}
			if supported[f.Name] {
				continue
			}
			field.Set(some(t, field.Type()))
			err := refuse(container.CreateRequest{Config: &container.Config{}, HostConfig: &h})
			name := f.Name
			if tag, _, _ := strings.Cut(f.Tag.Get("json"), ","); tag != "" {
				name = tag
			}
			if !errdefs.IsInvalidArgument(err) || err.Error() != "HostConfig."+name+" is not supported by this engine" {
				t.Errorf("%s: %v", f.Name, err)
			}
			field.SetZero()
		}
	}
	fields(reflect.ValueOf(&h).Elem())
}

// some returns a value of a type that asks for something.
func some(t *testing.T, typ reflect.Type) reflect.Value {
	v := reflect.New(typ).Elem()
	switch typ.Kind() {
	case reflect.String:
		v.SetString("something")
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(7)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(typ, 1, 1))
	case reflect.Map:
		v.Set(reflect.MakeMap(typ))
		v.SetMapIndex(reflect.Zero(typ.Key()), reflect.Zero(typ.Elem()))
	case reflect.Pointer:
		v.Set(reflect.New(typ.Elem()))
		v.Elem().Set(some(t, typ.Elem()))
	case reflect.Struct:
		v.Field(0).Set(some(t, typ.Field(0).Type))
	default:
		t.Fatalf("no value of %s", typ)
	}
	return v
}

// What the docker CLI sends with a plain `docker run` is accepted.
func TestDockerRunIsAccepted(t *testing.T) {
	const sent = `{"Hostname":"","Domainname":"","User":"","AttachStdin":false,"AttachStdout":true,"AttachStderr":true,"Tty":false,"OpenStdin":false,
"StdinOnce":false,"Env":null,"Cmd":["ls"],"Image":"debian","Volumes":{},"WorkingDir":"","Entrypoint":null,"OnBuild":null,"Labels":{},
"HostConfig":{"Binds":null,"ContainerIDFile":"","LogConfig":{"Type":"","Config":{}},"NetworkMode":"default","PortBindings":{"80/tcp":[{"HostIp":"","HostPort":"8080"}]},
"RestartPolicy":{"Name":"no","MaximumRetryCount":0},"AutoRemove":false,"VolumeDriver":"","VolumesFrom":null,"ConsoleSize":[24,80],"CapAdd":null,"CapDrop":null,
"CgroupnsMode":"","Dns":[],"DnsOptions":[],"DnsSearch":[],"ExtraHosts":null,"GroupAdd":null,"IpcMode":"","Cgroup":"","Links":null,"OomScoreAdj":0,"PidMode":"",
"Privileged":false,"PublishAllPorts":false,"ReadonlyRootfs":false,"SecurityOpt":null,"UTSMode":"","UsernsMode":"","ShmSize":0,"Isolation":"","CpuShares":0,"Memory":0,
"NanoCpus":0,"CgroupParent":"","BlkioWeight":0,"BlkioWeightDevice":[],"BlkioDeviceReadBps":[],"BlkioDeviceWriteBps":[],"BlkioDeviceReadIOps":[],"BlkioDeviceWriteIOps":[],
"CpuPeriod":0,"CpuQuota":0,"CpuRealtimePeriod":0,"CpuRealtimeRuntime":0,"CpusetCpus":"","CpusetMems":"","Devices":[],"DeviceCgroupRules":null,"DeviceRequests":null,
"MemoryReservation":0,"MemorySwap":0,"MemorySwappiness":-1,"OomKillDisable":false,"PidsLimit":0,"Ulimits":[],"CpuCount":0,"CpuPercent":0,"IOMaximumIOps":0,
"IOMaximumBandwidth":0,"MaskedPaths":null,"ReadonlyPaths":null},
"NetworkingConfig":{"EndpointsConfig":{"default":{"IPAMConfig":null,"Links":null,"Aliases":null,"MacAddress":"","DriverOpts":null,"GwPriority":0,"NetworkID":"",
"EndpointID":"","Gateway":"","IPAddress":"","IPPrefixLen":0,"IPv6Gateway":"","GlobalIPv6Address":"","GlobalIPv6PrefixLen":0,"DNSNames":null}}}}`
	var req container.CreateRequest
	if err := json.Unmarshal([]byte(sent), &req); err != nil {
		t.Fatal(err)
	}
	if err := refuse(req); err != nil {
		t.Error(err)
	}
	if err := checkLimits(req.HostConfig); err != nil {
		t.Error(err)
	}
	if err := checkNetwork(req.HostConfig); err != nil {
		t.Error(err)
	}
}

func TestConfigThatIsRefused(t *testing.T) {
	for words, req := range map[string]container.CreateRequest{
		"Config.Domainname": {Config: &container.Config{Domainname: "example"}},
		"Config.Volumes":    {Config: &container.Config{Volumes: map[string]struct{}{"/data": {}}}},
		"Config.Healthcheck": {Config: &container.Config{Healthcheck: &container.HealthConfig{
			Test: []string{"CMD", "true"}}}},
		"Config.NetworkDisabled":       {Config: &container.Config{NetworkDisabled: true}},
		"more than one network (blue)": {NetworkingConfig: &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{"blue": nil}}},
		"an address, aliases": {NetworkingConfig: &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{"default": {
			IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: netip.MustParseAddr("10.0.0.1")}}}}},
	} {
		if req.Config == nil {
			req.Config = &container.Config{}
		}
		req.HostConfig = &container.HostConfig{}
		if err := refuse(req); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", words, err)
		}
	}
}

func TestLimitsThatMakeNoSense(t *testing.T) {
	minus := int64(-7)
	for words, h := range map[string]container.HostConfig{
		"Minimum memory limit allowed is 6MB":       {Resources: container.Resources{Memory: 4096}},
		"invalid memory limit (-1)":                 {Resources: container.Resources{Memory: -1}},
		"You should always set the Memory limit":    {Resources: container.Resources{MemorySwap: 1 << 30}},
		"Minimum memoryswap limit should be larger": {Resources: container.Resources{Memory: 1 << 30, MemorySwap: 1 << 20}},
		"invalid memory and swap limit (-2)":        {Resources: container.Resources{Memory: 1 << 30, MemorySwap: -2}},
		"range of CPUs is from 0.01 to ":            {Resources: container.Resources{NanoCPUs: 1e15}},
		"CPUs available":                            {Resources: container.Resources{NanoCPUs: -1}},
		"Nano CPUs cannot be set together":          {Resources: container.Resources{NanoCPUs: 1e9, CPUQuota: 5000}},
		"invalid CPU shares (-1)":                   {Resources: container.Resources{CPUShares: -1}},
		"CPU cfs period can not be less than 1ms":   {Resources: container.Resources{CPUPeriod: 1}},
		"CPU cfs quota can not be less than 1ms":    {Resources: container.Resources{CPUQuota: 1}},
		"invalid pids limit (-7)":                   {Resources: container.Resources{PidsLimit: &minus}},
		"SHM size can not be less than 0":           {ShmSize: -1},
	} {
		if err := checkLimits(&h); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", words, err)
		}
	}
	for words, port := range map[string]struct {
		port    network.Port
		binding network.PortBinding
	}{
		"invalid port specification: \"x\"":   {port80, network.PortBinding{HostPort: "x"}},
		"invalid port specification: \"9-8\"": {port80, network.PortBinding{HostPort: "9-8"}},
		"protocol \"sctp\" is not supported":  {network.MustParsePort("80/sctp"), network.PortBinding{}},
		"IPv6 is not supported":               {port80, network.PortBinding{HostIP: netip.MustParseAddr("::1")}},
	} {
		h := container.HostConfig{PortBindings: network.PortMap{port.port: {port.binding}}}
		if err := checkNetwork(&h); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", words, err)
		}
	}
}

func TestParseSignal(t *testing.T) {
	for s, want := range map[string]unix.Signal{"TERM": 15, "SIGTERM": 15, "sigterm": 15, "9": 9, "RTMIN": 34, "SIGRTMIN+3": 37, "RTMAX-1": 63} {
		if got, err := parseSignal(s); err != nil || got != want {
			t.Errorf("%s: %d, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "0", "65", "-1", "SIGNOT", "RTMIN+99", "15x"} {
		if got, err := parseSignal(s); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%q: %d, %v", s, got, err)
		}
	}
}
