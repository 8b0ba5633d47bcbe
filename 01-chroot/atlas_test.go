//go:build linux

package chroot

import (
	"debug/elf"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"drydock.example/01-chroot/doctor"
	"drydock.example/01-chroot/hosttest"
)

// Each test here is an entry of docs/error-atlas.md: the failure, and its cure.

// fails checks that a call fails as the atlas says.
func fails(t *testing.T, what string, err error, want unix.Errno) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v: want %v", what, err, want)
	}
}

// execute starts a program and waits for its end; its error is execve's.
func execute(path string) error {
	pid, err := syscall.ForkExec(path, []string{path}, &syscall.ProcAttr{})
	if err != nil {
		return err
	}
	_, err = syscall.Wait4(pid, nil, 0, nil)
	return err
}

func TestAtlasInterpreterThatIsMissing(t *testing.T) {
	program := filepath.Join(t.TempDir(), "program")
	binaryFile{interpreter: "/lib/none/ld.so"}.write(t, program)
	fails(t, "an ELF file without its interpreter", execute(program), unix.ENOENT)
	if got := interpreterOf(program); got != "/lib/none/ld.so" {
		t.Errorf("interpreterOf: %q", got)
	}
}

func TestAtlasScriptWithWindowsLineEnds(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script")
	writeFile(t, script, "#!/proc/self/exe\r\n", 0o755)
	fails(t, `an interpreter whose name ends in "\r"`, execute(script), unix.ENOENT)
}

func TestAtlasExecFormat(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir+"/script", "echo hello\n", 0o755)
	fails(t, "a script without #!", execute(dir+"/script"), unix.ENOEXEC)
	other := elf.EM_AARCH64
	if runtime.GOARCH == "arm64" {
		other = elf.EM_X86_64
	}
	binaryFile{machine: other}.write(t, dir+"/program")
	if _, err := os.Stat("/proc/sys/fs/binfmt_misc/status"); err == nil {
		t.Skip("binfmt_misc may start programs of other machines here")
	}
	fails(t, "a program of another machine", execute(dir+"/program"), unix.ENOEXEC)
}

func TestAtlasTextFileBusy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "program")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	// No process of another test may be forked while the file is open: it would
	// hold it until its execve.
	if _, err := f.WriteString("echo hello\n"); err != nil {
		t.Fatal(err)
	}
	fails(t, "a program that is open for writing", execute(path), unix.ETXTBSY)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	fails(t, "the same, closed: it is read at least", execute(path), unix.ENOEXEC)
}

func TestAtlasNoPermissionToExecute(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	dir := t.TempDir()
	writeFile(t, dir+"/script", "#!/proc/self/exe\n", 0o644)
	fails(t, "a file without x", execute(dir+"/script"), unix.EACCES)
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOEXEC, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, 0) })
	writeFile(t, dir+"/script", "#!/proc/self/exe\n", 0o755)
	fails(t, "a file on a noexec mount", execute(dir+"/script"), unix.EACCES)
}

func TestAtlasChrootWithoutRoot(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	dir := t.TempDir()
	err := doctor.Apart(t.Context(), 0, func() error {
		// The raw call changes this thread alone.
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, 65534, 65534, 65534); errno != 0 {
			return errno
		}
		fails(t, "chroot of an ordinary user", unix.Chroot("/"), unix.EPERM)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if err := doctor.Apart(t.Context(), 0, func() error { return unix.Chroot(dir) }); err != nil {
		t.Errorf("as root: %v", err)
	}
}

func TestAtlasPivotRoot(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	dir := t.TempDir()
	for _, d := range []string{dir + "/mount", dir + "/mount/old", dir + "/mount/plain"} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// each calls do in a mount namespace where dir/mount is a mount.
	each := func(do func() error) error {
		return doctor.Apart(t.Context(), unix.CLONE_NEWNS, func() error {
			if err := unix.Mount(dir+"/mount", dir+"/mount", "", unix.MS_BIND, ""); err != nil {
				return err
			}
			return do()
		})
	}
	fails(t, "to a directory in a mount", each(func() error {
		return unix.PivotRoot(dir+"/mount/plain", dir+"/mount/plain")
	}), unix.EINVAL)
	fails(t, "to a directory of the mount that is / now", each(func() error {
		return unix.PivotRoot("/usr", "/usr")
	}), unix.EBUSY)
	fails(t, "to the root that is the root already", each(func() error { return unix.PivotRoot("/", "/") }), unix.EBUSY)
	fails(t, "with mounts that are passed on to others", each(func() error {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
			return err
		}
		return unix.PivotRoot(dir+"/mount", dir+"/mount/old")
	}), unix.EINVAL)
	if err := each(func() error { return unix.PivotRoot(dir+"/mount", dir+"/mount/old") }); err != nil {
		t.Errorf("to a private mount: %v", err)
	}
}

func TestAtlasUnmountOfWhatIsInUse(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(dir + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fails(t, "umount with an open file", unix.Unmount(dir, 0), unix.EBUSY)
	if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
		t.Errorf("umount later: %v", err)
	}
}

func TestAtlasUnknownFileSystem(t *testing.T) {
	hosttest.Require(t, hosttest.Root)
	fails(t, "a file system that this kernel does not have", unix.Mount("none", t.TempDir(), "drydockfs", 0, ""), unix.ENODEV)
}
