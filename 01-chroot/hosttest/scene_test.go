//go:build linux

package hosttest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// envScene names the scene that TestScene plays in a run of its own.
const envScene = "HOSTTEST_SCENE"

// scenes are tests that misbehave.
var scenes = map[string]func(t *testing.T){
	"pass": func(t *testing.T) {},
	"fail": func(t *testing.T) { t.Error("as told") },
	"echo": func(t *testing.T) {
		if _, err := io.Copy(os.Stdout, os.Stdin); err != nil {
			t.Error(err)
		}
		f := os.NewFile(3, "inherited")
		if _, err := f.WriteString("by descriptor 3\n"); err != nil {
			t.Error(err)
		}
		fmt.Println("environment", os.Getenv("HOSTTEST_WORD"))
	},
	"needs root": func(t *testing.T) { Require(t, Root); t.Error("went on") },
	"process": func(t *testing.T) {
		if err := exec.Command("sleep", "1000").Start(); err != nil {
			t.Error(err)
		}
	},
	"mount": func(t *testing.T) {
		if err := unix.Mount("tmpfs", "/mnt", "tmpfs", 0, ""); err != nil {
			t.Error(err)
		}
	},
	"mount of the host's files in TMPDIR": func(t *testing.T) {
		target, err := os.MkdirTemp("", "bind")
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount(os.Getenv("HOSTTEST_WORD"), target, "", unix.MS_BIND, ""); err != nil {
			t.Error(err)
		}
	},
	"link": func(t *testing.T) {
		if err := makeBridge("left0"); err != nil {
			t.Error(err)
		}
	},
	"cgroup": func(t *testing.T) {
		for _, h := range hierarchies() {
			if err := os.MkdirAll(h.point+Cgroup()+"/left", 0o755); err != nil {
				t.Error(err)
			}
		}
	},
	"cgroup and its removal": func(t *testing.T) {
		for _, h := range hierarchies() {
			dir := h.point + Cgroup() + "/box"
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Error(err)
			}
			if err := os.Remove(dir); err != nil {
				t.Error(err)
			}
		}
	},
	"rules": func(t *testing.T) {
		if out, err := exec.Command("nft", "add table ip left; add chain ip left forward; add rule ip left forward accept").CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	},
	"frozen process": func(t *testing.T) {
		for _, h := range hierarchies() {
			if h.v2() || !slices.Contains(strings.Split(h.options, ","), "freezer") {
				continue
			}
			freeze(t, h.point+Cgroup()+"/frozen")
		}
	},
	"everything, and no end": func(t *testing.T) {
		if err := unix.Mount("tmpfs", "/mnt", "tmpfs", 0, ""); err != nil {
			t.Error(err)
		}
		sleep := exec.Command("sleep", "1000")
		sleep.Stdout = os.Stdout // held open until it is dead
		sleep.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := sleep.Start(); err != nil {
			t.Error(err)
		}
		for _, h := range hierarchies() {
			dir := h.point + Cgroup() + "/endless"
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Error(err)
			}
			if h.v2() {
				if err := os.WriteFile(dir+"/cgroup.procs", fmt.Append(nil, sleep.Process.Pid), 0); err != nil {
					t.Error(err)
				}
			}
		}
		fmt.Printf("\nready %s\n", os.TempDir())
		select {}
	},
}

func makeBridge(name string) error {
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	b, err := unix.BytePtrFromString(name)
	if err != nil {
		return err
	}
	return bridge(s, unix.SIOCBRADDBR, b)
}

// freeze leaves a process in a frozen v1 cgroup.
func freeze(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	sleep := exec.Command("sleep", "1000")
	if err := sleep.Start(); err != nil {
		t.Fatal(err)
	}
	for _, w := range []struct {
		file, value string
	}{{"cgroup.procs", fmt.Sprint(sleep.Process.Pid)}, {"freezer.state", "FROZEN"}} {
		if err := os.WriteFile(filepath.Join(dir, w.file), []byte(w.value), 0); err != nil {
			t.Fatal(err)
		}
	}
}

func TestScene(t *testing.T) {
	name := os.Getenv(envScene)
	if name == "" {
		t.Skip("plays only when another test asks for a scene")
	}
	scenes[name](t)
}

// scene is the command that runs a scene in namespaces below ours.
func scene(t *testing.T, name string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestScene$", "-test.v")
	// A program under the race detector sleeps a second before it ends.
	cmd.Env = append(os.Environ(), envScene+"="+name, "GORACE=atexit_sleep_ms=0")
	return cmd
}

// play runs a scene and returns what it printed and its exit status.
func play(t *testing.T, name string) (string, int) {
	t.Helper()
	out, err := scene(t, name).CombinedOutput()
	if _, failed := err.(*exec.ExitError); err != nil && !failed {
		t.Fatal(err)
	}
	if err == nil {
		return string(out), 0
	}
	return string(out), err.(*exec.ExitError).ExitCode()
}

func TestWhatIsLeftBehindIsNamedAndFailsTheRun(t *testing.T) {
	Require(t, Root)
	for _, test := range []struct {
		scene    string
		requires []Requirement
		want     string
	}{
		{scene: "process", want: "process 1"},
		{scene: "mount", want: "added: mount tmpfs tmpfs on /mnt"},
		{scene: "link", requires: []Requirement{Bridge}, want: "added: link left0"},
		{scene: "cgroup", requires: []Requirement{anyCgroup}, want: "/left"},
		{scene: "rules", requires: []Requirement{Program("nft")}, want: "added: nftables rule left forward"},
		{scene: "frozen process", requires: []Requirement{CgroupV1}, want: "sleep 1000"},
	} {
		t.Run(test.scene, func(t *testing.T) {
			Require(t, test.requires...)
			out, code := play(t, test.scene)
			if code != 1 || !strings.Contains(out, test.want) || !strings.Contains(out, "--- PASS: TestScene") {
				t.Errorf("exit status %d, want 1 after a test that passes, and a line with %q:\n%s", code, test.want, out)
			}
		})
	}
}

func anyCgroup() error {
	if len(hierarchies()) == 0 {
		return fmt.Errorf("a mounted cgroup hierarchy")
	}
	return nil
}

func TestARunThatTidiesUpPasses(t *testing.T) {
	Require(t, Root)
	for _, name := range []string{"pass", "cgroup and its removal"} {
		if out, code := play(t, name); code != 0 || strings.Contains(out, "hosttest:") {
			t.Errorf("%s: exit status %d, want 0 and no remark:\n%s", name, code, out)
		}
	}
}

func TestTheExitStatusIsThatOfTheTests(t *testing.T) {
	Require(t, Root)
	out, code := play(t, "fail")
	if code != 1 || !strings.Contains(out, "as told") || strings.Contains(out, "hosttest:") {
		t.Errorf("exit status %d:\n%s", code, out)
	}
}

func TestDescriptorsEnvironmentAndFlagsArrive(t *testing.T) {
	Require(t, Root)
	inherited, err := os.Create(filepath.Join(t.TempDir(), "inherited"))
	if err != nil {
		t.Fatal(err)
	}
	defer inherited.Close()
	cmd := scene(t, "echo")
	cmd.Stdin = strings.NewReader("by standard input\n")
	cmd.ExtraFiles = []*os.File{inherited}
	cmd.Env = append(cmd.Env, "HOSTTEST_WORD=arrived")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	for _, want := range []string{"by standard input\n", "environment arrived\n", "--- PASS: TestScene"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if b, err := os.ReadFile(inherited.Name()); err != nil || string(b) != "by descriptor 3\n" {
		t.Errorf("descriptor 3 got %q, %v", b, err)
	}
}

func TestTempDirIsRemovedButNotWhatIsMountedInIt(t *testing.T) {
	Require(t, Root)
	precious := filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(precious, []byte("still here"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := scene(t, "mount of the host's files in TMPDIR")
	cmd.Env = append(cmd.Env, "HOSTTEST_WORD="+filepath.Dir(precious))
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Errorf("a forgotten mount did not fail the run:\n%s", out)
	}
	if b, err := os.ReadFile(precious); err != nil || string(b) != "still here" {
		t.Errorf("the mounted file is %q, %v", b, err)
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "dd*")); len(left) > 0 {
		t.Errorf("scratch directories are left: %q", left)
	}
}

func TestAKilledRunLeavesNothing(t *testing.T) {
	Require(t, Root)
	cmd := scene(t, "everything, and no end")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out := bufio.NewReader(stdout)
	tmp := ""
	for tmp == "" {
		line, err := out.ReadString('\n')
		if err != nil {
			t.Fatalf("the scene ended: %v", err)
		}
		t.Log(line)
		tmp, _ = strings.CutPrefix(strings.TrimSpace(line), "ready ")
		if !strings.HasPrefix(line, "ready ") {
			tmp = ""
		}
	}
	name := cgroupName(cmd.Process.Pid)
	for _, h := range hierarchies() {
		if _, err := os.Stat(h.point + name); err != nil {
			t.Errorf("before the kill: %v", err)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	// Every process of the run holds the pipe: at its end all are gone.
	rest, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(rest, []byte("hosttest:")) {
		t.Errorf("the run said\n%s", rest)
	}
	_ = cmd.Wait()
	if left := leftProcesses(0); len(left) > 1 { // this test is one
		t.Errorf("processes are left: %q", left)
	}
	for _, h := range hierarchies() {
		if _, err := os.Stat(h.point + name); !os.IsNotExist(err) {
			t.Errorf("cgroup %s is left (%v)", h.point+name, err)
		}
	}
	if _, err := os.Stat(tmp); !os.IsNotExist(err) {
		t.Errorf("%s is left (%v)", tmp, err)
	}
}

func TestTheNextRunRemovesWhatADeadOneLeft(t *testing.T) {
	Require(t, Root, anyCgroup)
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	alive, gone := cgroupName(os.Getpid()), cgroupName(dead.Process.Pid)
	hs := hierarchies()
	t.Cleanup(func() { removeCgroups(hs, alive); removeCgroups(hs, gone) })
	for _, h := range hs {
		for _, name := range []string{alive, gone} {
			if err := os.MkdirAll(h.point+name+"/box", 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	scratch := map[bool]string{true: fmt.Sprintf("dd%d-1", os.Getpid()), false: fmt.Sprintf("dd%d-1", dead.Process.Pid)}
	for _, name := range scratch {
		if err := os.MkdirAll(filepath.Join(os.TempDir(), name, "001"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	removeStale()
	for lives, name := range scratch {
		if _, err := os.Stat(filepath.Join(os.TempDir(), name)); (err == nil) != lives {
			t.Errorf("of a run that lives (%v): %v", lives, err)
		}
		os.RemoveAll(filepath.Join(os.TempDir(), name))
	}
	for _, h := range hs {
		if _, err := os.Stat(h.point + gone); !os.IsNotExist(err) {
			t.Errorf("%s is left (%v)", h.point+gone, err)
		}
		if _, err := os.Stat(h.point + alive + "/box"); err != nil {
			t.Errorf("that of a living run is gone: %v", err)
		}
	}
}

func TestWithoutRootTheTestsRunAndSkip(t *testing.T) {
	Require(t, Root)
	cmd := scene(t, "needs root")
	// Nobody may not read the go command's scratch directory.
	b, err := os.ReadFile(cmd.Path)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Path = filepath.Join(t.TempDir(), "hosttest.test")
	if err := os.WriteFile(cmd.Path, b, 0o755); err != nil {
		t.Fatal(err)
	}
	for dir := filepath.Dir(cmd.Path); dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd.Dir = "/"
	if testing.CoverMode() != "" {
		t.Skip("the coverage counters of another user's process have no place to go")
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	for _, want := range []string{"hosttest: not root", "requires root and namespaces of its own (not root)", "--- SKIP: TestScene"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}
