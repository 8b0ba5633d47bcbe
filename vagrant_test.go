//go:build linux

package course_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// program skips a test where a program is missing.
func program(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("needs the program %s: apt-get install %s", name, name)
	}
}

// vagrantfile returns what the Vagrantfile sets for a provider, read with
// stand-ins for Vagrant and its plugins.
func vagrantfile(t *testing.T, provider string, env ...string) map[string]any {
	t.Helper()
	cmd := exec.Command("ruby", "vagrant/testdata/parse.rb", provider, "Vagrantfile")
	cmd.Env = append(os.Environ(), env...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", provider, err, &said)
	}
	var set map[string]any
	if err := json.Unmarshal(out, &set); err != nil {
		t.Fatalf("%s: %v\n%s", provider, err, out)
	}
	return set
}

// folders returns the type of each folder that the machine gets.
func folders(set map[string]any) map[string]string {
	found := map[string]string{}
	for _, call := range set["synced_folder"].([]any) {
		args := call.([]any)
		options := args[len(args)-1].(map[string]any)
		if options["disabled"] == true {
			continue
		}
		kind, _ := options["type"].(string)
		found[args[1].(string)] = kind
	}
	return found
}

func TestVagrantfileForEachProvider(t *testing.T) {
	program(t, "ruby")
	for _, test := range []struct {
		provider, box, cpus, memory, share string
	}{
		{"virtualbox", "bento/debian-12", "provider.cpus", "provider.memory", ""},
		{"vmware_desktop", "bento/debian-12", "provider.vmx[numvcpus]", "provider.vmx[memsize]", ""},
		{"parallels", "bento/debian-12", "provider.cpus", "provider.memory", ""},
		{"hyperv", "generic/debian12", "provider.cpus", "provider.memory", "rsync"},
		{"libvirt", "cloud-image/debian-12", "provider.cpus", "provider.memory", "rsync"},
		{"qemu", "cloud-image/debian-12", "provider.smp", "provider.memory", "rsync"},
	} {
		set := vagrantfile(t, test.provider, "DRYDOCK_VM_CPUS=3", "DRYDOCK_VM_MEMORY=1234")
		if set["vm.box"] != test.box {
			t.Errorf("%s: box %v, want %s", test.provider, set["vm.box"], test.box)
		}
		number := func(key string) string { text, _ := json.Marshal(set[key]); return strings.Trim(string(text), `"M`) }
		if c, m := number(test.cpus), number(test.memory); c != "3" || m != "1234" {
			t.Errorf("%s: %s CPUs, %s MiB in %v", test.provider, c, m, set)
		}
		if share, ok := folders(set)["/drydock"]; !ok || share != test.share {
			t.Errorf("%s: the repository is shared by %q, want %q", test.provider, share, test.share)
		}
		if ports := set["network"].([]any); len(ports) != 11 {
			t.Errorf("%s: %d ports are forwarded, want 8080 to 8090", test.provider, len(ports))
		}
	}
}

func TestVagrantfileTakesWhatATestNeeds(t *testing.T) {
	program(t, "ruby")
	room := t.TempDir()
	for _, dir := range []string{"modules", "box"} {
		if err := os.Mkdir(filepath.Join(room, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	box := filepath.Join(room, "box", "libvirt.box")
	if err := os.WriteFile(box, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	set := vagrantfile(t, "libvirt", "DRYDOCK_VM_BOX=local/x", "DRYDOCK_VM_DRIVER=qemu", "DRYDOCK_VM_CPU_MODE=maximum", "DRYDOCK_VM_GRAPHICS=none",
		"DRYDOCK_VM_VIDEO=none", "DRYDOCK_VM_POOL=/pool", "DRYDOCK_VM_BOOT_TIMEOUT=600", "DRYDOCK_VM_CLASSROOM="+room)
	for key, want := range map[string]any{
		"vm.box": "local/x", "vm.box_url": "file://" + box, "vm.boot_timeout": 600.0, "provider.driver": "qemu", "provider.cpu_mode": "maximum",
		"provider.graphics_type": "none", "provider.video_type": "none", "provider.storage_pool_path": "/pool",
	} {
		if set[key] != want {
			t.Errorf("%s is %v, want %v", key, set[key], want)
		}
	}
	if _, ok := folders(set)["/classroom"]; !ok {
		t.Errorf("the machine does not get the classroom's folder: %v", folders(set))
	}
}

// TestVagrantAcceptsTheVagrantfile asks the real one.
func TestVagrantAcceptsTheVagrantfile(t *testing.T) {
	program(t, "vagrant")
	cmd := exec.Command("vagrant", "validate", "--ignore-provider")
	cmd.Env = append(os.Environ(), "VAGRANT_HOME="+t.TempDir(), "VAGRANT_CHECKPOINT_DISABLE=1", "VAGRANT_DOTFILE_PATH="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "validated successfully") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestShellScripts(t *testing.T) {
	program(t, "shellcheck")
	scripts := []string{"vagrant/provision.sh", "vagrant/try"}
	more, err := filepath.Glob(".ci/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range more {
		if text, _ := os.ReadFile(file); bytes.HasPrefix(text, []byte("#!")) {
			scripts = append(scripts, file)
		}
	}
	if out, err := exec.Command("shellcheck", append([]string{"-S", "warning"}, scripts...)...).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestToolchainSums wants the sums of the very Go that go.work asks for.
func TestToolchainSums(t *testing.T) {
	work, err := os.ReadFile("go.work")
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile("vagrant/toolchain.sum")
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^go (\S+)`).FindSubmatch(work)[1]
	for _, arch := range []string{"amd64", "arm64"} {
		line := regexp.MustCompile(`(?m)^golang\.org/toolchain v0\.0\.1-go` + regexp.QuoteMeta(string(version)) + `\.linux-` + arch + ` h1:[A-Za-z0-9+/]{43}=$`)
		if !line.Match(sums) {
			t.Errorf("vagrant/toolchain.sum has no sum of Go %s for %s: take it from `go mod download -json golang.org/toolchain@v0.0.1-go%s.linux-%s`", version, arch, version, arch)
		}
	}
}

// TestLimaTemplate reads lima.yaml with a real YAML parser and wants keys and
// values that Lima's documentation has.
func TestLimaTemplate(t *testing.T) {
	program(t, "ruby")
	out, err := exec.Command("ruby", "-ryaml", "-rjson", "-e", "puts JSON.generate(YAML.safe_load(File.read('vagrant/lima.yaml')))").Output()
	if err != nil {
		t.Fatal(err)
	}
	var lima struct {
		MinimumLimaVersion string
		Images             []struct{ Location, Arch string }
		CPUs               int
		Memory, Disk       string
		Param              map[string]string
		Mounts             []struct {
			Location, MountPoint string
			Writable             bool
		}
		Containerd struct{ System, User *bool }
		Provision  []struct{ Mode, Script string }
		Message    string
	}
	d := json.NewDecoder(bytes.NewReader(out))
	d.DisallowUnknownFields()
	if err := d.Decode(&lima); err != nil {
		t.Fatal(err)
	}
	var arches []string
	for _, image := range lima.Images {
		arches = append(arches, image.Arch)
	}
	if !slices.Equal(arches, []string{"x86_64", "aarch64"}) || lima.CPUs != 2 || lima.Memory != "2GiB" || len(lima.Provision) != 1 || lima.Provision[0].Mode != "system" {
		t.Errorf("%+v", lima)
	}
	// Lima refuses a parameter that nobody uses.
	if len(lima.Mounts) != 1 || lima.Mounts[0].Location != "{{.Param.repository}}" || lima.Param["repository"] == "" || lima.Mounts[0].Writable {
		t.Errorf("%+v, %+v", lima.Mounts, lima.Param)
	}
	check := exec.Command("bash", "-n")
	check.Stdin = strings.NewReader(lima.Provision[0].Script)
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("the provision script: %v\n%s", err, out)
	}
}
