//go:build linux

package namespaces

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// rlimits are the resources of getrlimit(2).
var rlimits = map[string]int{
	"RLIMIT_AS": unix.RLIMIT_AS, "RLIMIT_CORE": unix.RLIMIT_CORE, "RLIMIT_CPU": unix.RLIMIT_CPU, "RLIMIT_DATA": unix.RLIMIT_DATA,
	"RLIMIT_FSIZE": unix.RLIMIT_FSIZE, "RLIMIT_LOCKS": unix.RLIMIT_LOCKS, "RLIMIT_MEMLOCK": unix.RLIMIT_MEMLOCK,
	"RLIMIT_MSGQUEUE": unix.RLIMIT_MSGQUEUE, "RLIMIT_NICE": unix.RLIMIT_NICE, "RLIMIT_NOFILE": unix.RLIMIT_NOFILE,
	"RLIMIT_NPROC": unix.RLIMIT_NPROC, "RLIMIT_RSS": unix.RLIMIT_RSS, "RLIMIT_RTPRIO": unix.RLIMIT_RTPRIO,
	"RLIMIT_RTTIME": unix.RLIMIT_RTTIME, "RLIMIT_SIGPENDING": unix.RLIMIT_SIGPENDING, "RLIMIT_STACK": unix.RLIMIT_STACK,
}

// setLimits sets the limits of the process itself: what its children inherit.
func setLimits(p *initProcess) error {
	set := map[string]bool{}
	for _, l := range p.Process.Rlimits {
		if set[l.Type] {
			return fmt.Errorf("process.rlimits: %s stands there twice: name each once", l.Type)
		}
		set[l.Type] = true
		resource, ok := rlimits[l.Type]
		if !ok {
			return fmt.Errorf("process.rlimits: %q is no resource of getrlimit(2)", l.Type)
		}
		if l.Soft > l.Hard {
			return fmt.Errorf("process.rlimits: %s: soft limit %d is above hard limit %d", l.Type, l.Soft, l.Hard)
		}
		chapter.Call(p.ctx, "a limit of the process, not of the container", "prlimit64(0, %s, {rlim_cur=%d, rlim_max=%d}, NULL)", l.Type, l.Soft, l.Hard)
		err := unix.Setrlimit(resource, &unix.Rlimit{Cur: l.Soft, Max: l.Hard})
		if err == unix.EPERM {
			err = lowerLimit(p, resource, l)
		}
		if err != nil {
			return fmt.Errorf("process.rlimits: set %s to %d (hard %d): %w", l.Type, l.Soft, l.Hard, err)
		}
	}
	adj := p.Process.OOMScoreAdj
	if adj == nil {
		return nil
	}
	err := writeProc(p, "self/oom_score_adj", strconv.Itoa(*adj), "who is killed first when memory runs out")
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		// Below what the creator has takes CAP_SYS_RESOURCE. It runs as well without.
		p.warnings = append(p.warnings, fmt.Sprintf("process.oomScoreAdj: %v: it stays as it is", err))
		return nil
	}
	return err
}

// lowerLimit sets as much of a limit as may be had without CAP_SYS_RESOURCE:
// no more than the creator's hard limit.
func lowerLimit(p *initProcess, resource int, l specs.POSIXRlimit) error {
	var have unix.Rlimit
	if err := unix.Getrlimit(resource, &have); err != nil {
		return err
	}
	p.warnings = append(p.warnings, fmt.Sprintf("process.rlimits: %s %d is above the hard limit here, %d, and may not be raised: it gets that", l.Type, l.Hard, have.Max))
	return unix.Setrlimit(resource, &unix.Rlimit{Cur: min(l.Soft, have.Max), Max: min(l.Hard, have.Max)})
}

// setSysctls writes kernel parameters of the container's own namespaces.
func setSysctls(p *initProcess) error {
	for key, value := range p.Sysctl {
		if err := writeProc(p, "sys"+sysctlPath(key), value, "a kernel parameter of its own namespaces"); err != nil {
			return err
		}
	}
	return nil
}

// sysctlPath turns a parameter's name into its path (sysctl(8)): whichever of
// "." and "/" comes first separates, the other is part of a name, such as that
// of a link, eth0.5. The path begins at /proc/sys, which no ".." leaves.
func sysctlPath(key string) string {
	if i := strings.IndexAny(key, "./"); i < 0 || key[i] == '.' {
		key = strings.NewReplacer(".", "/", "/", ".").Replace(key)
	}
	return path.Clean("/" + key)
}

// closeDescriptors has execve close all descriptors but the streams and the
// ones that the caller hands over: what leaks in is a way out.
func closeDescriptors(p *initProcess) error {
	first := uint(3 + p.Files)
	chapter.Call(p.ctx, "no descriptor of the host may reach the user's program", "close_range(%d, 4294967295, CLOSE_RANGE_CLOEXEC)", first)
	return os.NewSyscallError("close_range", unix.CloseRange(first, ^uint(0)>>32, unix.CLOSE_RANGE_CLOEXEC))
}
