//go:build linux

package namespaces

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// becomeUser takes on the user and groups of the spec. The capabilities are
// kept for the next step, which decides about them.
func becomeUser(p *initProcess) error {
	u := p.Process.User
	umask := 0o022
	if u.Umask != nil {
		umask = int(*u.Umask)
	}
	unix.Umask(umask)
	if err := dropBounding(p); err != nil {
		return err
	}
	chapter.Call(p.ctx, "the change of user must not take the capabilities along", "prctl(PR_SET_KEEPCAPS, 1)")
	if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl(PR_SET_KEEPCAPS)", err)
	}
	gids := make([]int, len(u.AdditionalGids))
	for i, g := range u.AdditionalGids {
		gids[i] = int(g)
	}
	chapter.Call(p.ctx, "the caller's groups stay outside", "setgroups(%d, %v)", len(gids), gids)
	if err := unix.Setgroups(gids); err != nil {
		// Asked only then: the container could have put anything over the file.
		mayset, _ := os.ReadFile("/proc/self/setgroups")
		switch denied := strings.TrimSpace(string(mayset)) == "deny"; {
		case denied && len(gids) > 0:
			return fmt.Errorf("process.user.additionalGids %v: a user namespace made without privilege cannot set them", gids)
		case !denied:
			return fmt.Errorf("groups %v: %w", gids, os.NewSyscallError("setgroups", err))
		}
	}
	chapter.Call(p.ctx, "the group before the user: a user who is not root may not change it", "setresgid(%d, %d, %d)", u.GID, u.GID, u.GID)
	if err := setIDs(unix.SYS_SETRESGID, u.GID); err != nil {
		return fmt.Errorf("gid %d: %w", u.GID, os.NewSyscallError("setresgid", err))
	}
	chapter.Call(p.ctx, "from here on it is the user's process", "setresuid(%d, %d, %d)", u.UID, u.UID, u.UID)
	if err := setIDs(unix.SYS_SETRESUID, u.UID); err != nil {
		return fmt.Errorf("uid %d: %w", u.UID, os.NewSyscallError("setresuid", err))
	}
	if p.Bound {
		// After the change of user, which would clear it.
		chapter.Call(p.ctx, "it dies with the process that made it", "prctl(PR_SET_PDEATHSIG, SIGKILL)")
		return os.NewSyscallError("prctl(PR_SET_PDEATHSIG)", unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0))
	}
	return nil
}

// setIDs sets the real, effective and saved id of this thread alone. Go's own
// function stops every thread to change them all (nptl(7) does the same); here
// the others end at execve and never run the user's code.
func setIDs(call uintptr, id uint32) error {
	if _, _, errno := unix.RawSyscall(call, uintptr(id), uintptr(id), uintptr(id)); errno != 0 {
		return errno
	}
	return nil
}

// noNewPrivileges keeps set-user-ID programs from giving back what was dropped.
func noNewPrivileges(p *initProcess) error {
	if !p.Process.NoNewPrivileges {
		return nil
	}
	chapter.Call(p.ctx, "no program in here can gain what was dropped", "prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)")
	return os.NewSyscallError("prctl(PR_SET_NO_NEW_PRIVS)", unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
}

// makeDirectory makes the working directory where the root lacks it, as engines
// promise to. What cannot be made, on a read-only volume for example, shows
// when the process goes there.
func makeDirectory(p *initProcess) error {
	if fd, err := mkdirInRoot(p.root, p.Process.Cwd); err == nil {
		unix.Close(fd)
	}
	return nil
}

// changeDirectory goes to the working directory, as the user.
func changeDirectory(p *initProcess) error {
	cwd := p.Process.Cwd
	chapter.Call(p.ctx, "where the program begins", "chdir(%q)", cwd)
	if err := unix.Chdir(cwd); err != nil {
		return fmt.Errorf("process.cwd: %w", &os.PathError{Op: "chdir", Path: cwd, Err: err})
	}
	// A path through a descriptor that leaked would lead outside, and the kernel says so here.
	// A filter that is loaded already may refuse the question; that is no answer.
	if where, err := unix.Getwd(); err == unix.ENOENT || err == nil && !strings.HasPrefix(where, "/") {
		return fmt.Errorf("process.cwd %q leads out of the container's root", cwd)
	}
	return nil
}

// findProgram finds the program in the container's PATH, as the user and in
// the root that it will have.
func findProgram(p *initProcess) error {
	if len(p.Process.Args) == 0 {
		return nil // it will not be started: see Options.Fifo
	}
	name := p.Process.Args[0]
	if strings.Contains(name, "/") {
		p.program = name
		return executable(name, fmt.Sprintf("exec: %q", name))
	}
	var denied error
	for _, dir := range filepath.SplitList(pathOf(p.Process.Env)) {
		candidate := filepath.Join("/", dir, name)
		if !filepath.IsAbs(dir) {
			candidate = filepath.Join(p.Process.Cwd, dir, name)
		}
		switch err := executable(candidate, fmt.Sprintf("exec: %q", name)); {
		case err == nil:
			p.program = candidate
			return nil
		case err.(*initError).kind == ErrNotExecutable && denied == nil:
			denied = err
		}
	}
	if denied != nil {
		return denied
	}
	return &initError{fmt.Sprintf("exec: %q: executable file not found in $PATH", name), ErrNotFound}
}

// executable reports why the file at path cannot be executed by this user.
func executable(path, prefix string) error {
	var st unix.Stat_t
	switch err := unix.Stat(path, &st); {
	case err == unix.ENOENT || err == unix.ENOTDIR:
		return &initError{fmt.Sprintf("%s: stat %s: %v", prefix, path, err), ErrNotFound}
	case err != nil:
		return &initError{fmt.Sprintf("%s: stat %s: %v", prefix, path, err), ErrNotExecutable}
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return &initError{fmt.Sprintf("%s: %s: is a directory", prefix, path), ErrNotExecutable}
	}
	// AT_EACCESS: by the effective ids, as execve will judge.
	if err := unix.Faccessat(unix.AT_FDCWD, path, unix.X_OK, unix.AT_EACCESS); err != nil {
		return &initError{fmt.Sprintf("%s: %s: %v", prefix, path, err), ErrNotExecutable}
	}
	return nil
}

// pathOf returns the last PATH of an environment, as execvp's callers see it.
func pathOf(env []string) string {
	path := ""
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			path = v
		}
	}
	return path
}
