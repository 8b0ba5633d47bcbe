package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Host returns chapter 1's checks: the machine, and who asks.
func Host() []Check {
	return []Check{
		{chapter, "kernel", "everything", func(context.Context) Result {
			release, err := os.ReadFile("/proc/sys/kernel/osrelease")
			if err != nil {
				return noProc(err)
			}
			return kernel(strings.TrimSpace(string(release)))
		}},
		{chapter, "architecture", "images: a program runs on the processor that it was built for", func(context.Context) Result {
			var u unix.Utsname
			if err := unix.Uname(&u); err != nil {
				return Result{Status: Unknown, Found: err.Error()}
			}
			return architecture(runtime.GOARCH, unix.ByteSliceToString(u.Machine[:]))
		}},
		{chapter, "root", "all that changes a kernel: namespaces, mounts, cgroups, networks", func(context.Context) Result {
			status, err := os.ReadFile("/proc/thread-self/status")
			if err != nil {
				return noProc(err)
			}
			outside, err := os.ReadFile("/proc/thread-self/uid_map")
			if err != nil {
				return noProc(err)
			}
			return root(os.Geteuid(), field(string(status), "CapEff"), string(outside))
		}},
		{chapter, "chroot", "a process with another root directory", tryChroot},
		{chapter, "temporary files", "go run and go test, which build programs there and start them", func(context.Context) Result {
			return scratch(os.TempDir())
		}},
		{chapter, "open files", "many containers at once: each has a few files open in its supervisor", func(context.Context) Result {
			var limit unix.Rlimit
			if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
				return Result{Status: Unknown, Found: os.NewSyscallError("getrlimit", err).Error()}
			}
			return openFiles(limit.Max)
		}},
	}
}

func noProc(err error) Result {
	return Result{
		Status: Missing, Found: err.Error(), Breaks: "everything",
		Why:  "what a process may and is in is read from /proc",
		Cure: []string{"sudo mount -t proc proc /proc"},
	}
}

// The oldest kernel that will do, for mount_setattr(2).
const oldestMajor, oldestMinor = 5, 12

func kernel(release string) Result {
	found := "Linux " + release
	upgrade := []string{"uname -r      # after an upgrade of the distribution, or of its kernel package: Debian 12, Ubuntu 22.04 with linux-generic-hwe-22.04 and Fedora 36 have newer ones",
		"vagrant up    # or run the course in its virtual machine"}
	switch {
	case strings.HasSuffix(release, "Microsoft"):
		return Result{
			Status: Missing, Found: found + " (WSL 1)", Breaks: "everything",
			Why:  "WSL 1 answers Linux's system calls with Windows' kernel, which has no namespaces",
			Cure: []string{"wsl --set-version DISTRIBUTION 2    # in PowerShell; wsl -l -v lists the names"},
		}
	case strings.Contains(release, "microsoft"):
		found += " (WSL 2)"
		upgrade = []string{"wsl --update    # in PowerShell"}
	}
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		return Result{Status: Unknown, Found: fmt.Sprintf("%s: no version is to be read from that", found)}
	}
	if major < oldestMajor || major == oldestMajor && minor < oldestMinor {
		return Result{
			Status: Missing, Found: found, Breaks: "chapters 2 to 7",
			Why:  fmt.Sprintf("a container's mounts are made by mount_setattr(2), which came with Linux %d.%d", oldestMajor, oldestMinor),
			Cure: upgrade,
		}
	}
	return Fine("%s", found)
}

func architecture(goarch, machine string) Result {
	// The processors that the course is tested on: Go's name and that of uname(2).
	want, known := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[goarch]
	switch {
	case !known:
		return Result{
			Status: Limited, Found: fmt.Sprintf("%s (%s)", goarch, machine),
			Breaks: "images that have no variant for " + goarch,
			Why:    "the course is tested on amd64 and arm64, and few images are built for others",
			Cure:   []string{"drydock pull --platform linux/" + goarch + " IMAGE    # says whether an image has one"},
		}
	case machine != want:
		return Result{
			Status: Limited, Found: fmt.Sprintf("a program for %s on a kernel for %s", goarch, machine),
			Breaks: "images that have no variant for " + goarch,
			Why:    "the processor is emulated, or Go was installed for another one",
			Cure:   []string{"go env GOARCH GOHOSTARCH    # and install Go for " + machine},
		}
	}
	return Fine("%s", goarch)
}

// capabilities that an engine must have, by their numbers (capabilities(7)).
var capabilities = []struct {
	bit  uint
	name string
}{
	{unix.CAP_CHOWN, "CAP_CHOWN"}, {unix.CAP_DAC_OVERRIDE, "CAP_DAC_OVERRIDE"}, {unix.CAP_NET_ADMIN, "CAP_NET_ADMIN"},
	{unix.CAP_SYS_CHROOT, "CAP_SYS_CHROOT"}, {unix.CAP_SYS_PTRACE, "CAP_SYS_PTRACE"}, {unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN"},
	{unix.CAP_MKNOD, "CAP_MKNOD"},
}

// root judges by the effective user, the line CapEff of proc_pid_status(5) and
// the uid_map of user_namespaces(7).
func root(euid int, effective, uidMap string) Result {
	if euid != 0 {
		return Result{
			Status: Limited, Found: fmt.Sprintf("user %d", euid),
			Breaks: "all but what a user namespace gives, where those work: roots and namespaces, layers and images, and limits in a part of the cgroup tree that is yours; the tests of the rest are skipped",
			Why:    "the kernel lets root alone change what all users share",
			Cure:   []string{"sudo drydock doctor    # and sudo before what else is to run as root"},
		}
	}
	set, err := strconv.ParseUint(effective, 16, 64)
	if err != nil {
		return Result{Status: Unknown, Found: fmt.Sprintf("root, with capabilities %q", effective)}
	}
	var lacks []string
	for _, c := range capabilities {
		if set&(1<<c.bit) == 0 {
			lacks = append(lacks, c.name)
		}
	}
	if len(lacks) > 0 {
		return Result{
			Status: Missing, Found: "root without " + strings.Join(lacks, ", "), Breaks: "everything but reading",
			Why:  "this is root in a container, from which an engine took these capabilities",
			Cure: []string{"docker run --privileged …    # start that container with all of them, or work on the host"},
		}
	}
	// The host's map leads from every id to itself: 0, 0, 2³²-1.
	if f := strings.Fields(uidMap); len(f) != 3 || f[1] != "0" || f[2] != "4294967295" {
		return Fine("root of a user namespace, with all capabilities in there")
	}
	return Fine("root, with all capabilities that are needed")
}

// field returns the value of a line "name:\tvalue".
func field(text, name string) string {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// tryChroot makes / the root of a thread that has it as its root already.
func tryChroot(ctx context.Context) Result {
	return chrooted(os.Geteuid(), Apart(ctx, 0, func() error {
		chapter.Call(ctx, "may it be called at all?", `chroot("/")`)
		return os.NewSyscallError("chroot", unix.Chroot("/"))
	}))
}

func chrooted(euid int, err error) Result {
	switch {
	case err == nil:
		return Fine("works")
	case errors.Is(err, unix.EPERM) && euid != 0:
		return NeedsRoot()
	}
	return Result{
		Status: Missing, Found: err.Error(), Breaks: "chapter 1",
		Why:  "root lacks CAP_SYS_CHROOT, or a seccomp filter refuses the call: this is the inside of a container",
		Cure: []string{"docker run --privileged …    # start that container with all capabilities, or work on the host"},
	}
}

const fewestFiles = 4096

// openFiles judges the hard limit: Go raises the soft one to it when a program
// starts.
func openFiles(hard uint64) Result {
	switch {
	case hard == unix.RLIM_INFINITY:
		return Fine("no limit")
	case hard < fewestFiles:
		return Result{
			Status: Limited, Found: fmt.Sprintf("at most %d", hard),
			Breaks: `a hundred containers, or an image of many layers: "too many open files"`,
			Why:    "RLIMIT_NOFILE's hard limit, which this process inherited, is low",
			Cure: []string{"ulimit -Hn 65536    # as root, for this shell",
				"echo '* hard nofile 65536' | sudo tee /etc/security/limits.d/nofile.conf    # for logins to come"},
		}
	}
	return Fine("at most %d", hard)
}
