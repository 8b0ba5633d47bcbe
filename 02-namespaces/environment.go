//go:build linux

package namespaces

import (
	"bufio"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// setEnvironment leaves of each variable the last value, and gives the program
// a HOME where the spec has none: programs take it for granted, and runtimes
// have always set it.
func setEnvironment(p *initProcess) error {
	env := lastOfEach(p.Process.Env)
	if !slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, "HOME=") && e != "HOME=" }) {
		env = slices.DeleteFunc(env, func(e string) bool { return e == "HOME=" })
		env = append(env, "HOME="+home(p.Process.User.UID))
	}
	p.Process.Env = env
	return nil
}

// lastOfEach returns the variables, each once: C's getenv(3) would find the
// first of several, a shell the last.
func lastOfEach(env []string) []string {
	seen := map[string]bool{}
	var last []string
	for _, e := range slices.Backward(env) {
		name, _, _ := strings.Cut(e, "=")
		if !seen[name] {
			seen[name] = true
			last = append(last, e)
		}
	}
	slices.Reverse(last)
	return last
}

// home is the user's directory by the container's passwd(5), or "/". The file
// is the image's: it may be anything, and what cannot be read has no answer.
func home(uid uint32) string {
	fd, err := unix.Openat2(unix.AT_FDCWD, "/etc/passwd", &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_NONBLOCK | unix.O_CLOEXEC, // a fifo must not hold us
		Resolve: unix.RESOLVE_NO_MAGICLINKS,                       // a link through /proc/self/fd could lead outside
	})
	if err != nil {
		return "/"
	}
	f := os.NewFile(uintptr(fd), "/etc/passwd")
	defer f.Close()
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return "/"
	}
	return homeIn(io.LimitReader(f, 1<<20), uid)
}

// homeIn looks for the first entry of the user in a passwd file.
func homeIn(passwd io.Reader, uid uint32) string {
	lines := bufio.NewScanner(passwd)
	for lines.Scan() {
		f := strings.Split(lines.Text(), ":")
		if len(f) < 6 || f[2] != strconv.FormatUint(uint64(uid), 10) {
			continue
		}
		if strings.HasPrefix(f[5], "/") {
			return f[5]
		}
		break
	}
	return "/"
}
