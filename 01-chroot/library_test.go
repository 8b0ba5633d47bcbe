//go:build linux

package chroot

import (
	"debug/elf"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sandbox is a directory with a dynamic linker of its own.
type sandbox struct {
	dir string
	linker
}

func newSandbox(t *testing.T) sandbox {
	dir := t.TempDir()
	s := sandbox{dir, linker{etc: filepath.Join(dir, "etc"), defaults: []string{filepath.Join(dir, "lib")}}}
	writeFile(t, s.path("lib/ld.so"), "", 0o755)
	return s
}

func (s sandbox) path(name string) string { return filepath.Join(s.dir, name) }

// needed lists what the program needs, relative to the sandbox.
func (s sandbox) needed(t *testing.T, program string) string {
	t.Helper()
	files, err := s.needs(s.path(program))
	if err != nil {
		t.Fatal(err)
	}
	return s.relative(files)
}

func (s sandbox) relative(files []File) string {
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimPrefix(f.Path, s.dir+"/"))
	}
	return strings.Join(names, " ")
}

func TestLibrariesOfLibrariesAreNeeded(t *testing.T) {
	s := newSandbox(t)
	binaryFile{interpreter: s.path("lib/ld.so"), needed: []string{"liba.so", "libb.so"}}.write(t, s.path("program"))
	binaryFile{needed: []string{"libc.so", "libb.so"}}.write(t, s.path("lib/liba.so"))
	binaryFile{needed: []string{"liba.so"}}.write(t, s.path("lib/libb.so")) // a circle
	binaryFile{needed: []string{"ld.so"}}.write(t, s.path("lib/libc.so"))
	if got, want := s.needed(t, "program"), "lib/ld.so lib/liba.so lib/libb.so lib/libc.so"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestModulesOfTheNameServiceAreFound(t *testing.T) {
	s := newSandbox(t)
	binaryFile{interpreter: s.path("lib/ld.so"), needed: []string{"libc.so"}}.write(t, s.path("program"))
	binaryFile{needed: []string{"libbus.so"}}.write(t, s.path("lib/libnss_mdns.so.2"))
	binaryFile{}.write(t, s.path("lib/libbus.so"))
	writeFile(t, s.path("etc/nsswitch.conf"), "# files\npasswd: files\nhosts: files mdns [NOTFOUND=return] dns # ldap\n", 0o644)
	writeFile(t, s.path("etc/hosts"), "", 0o644)
	writeFile(t, s.path("etc/shadow"), "", 0o600)
	for program, want := range map[string]string{
		"program":           "etc/nsswitch.conf etc/hosts lib/libnss_mdns.so.2 lib/libbus.so",
		"lib/libbus.so":     "etc/nsswitch.conf etc/hosts", // no interpreter: as a static program
		"etc/nsswitch.conf": "etc/nsswitch.conf etc/hosts", // no ELF file: as a script
	} {
		files, err := s.nameService(s.path(program))
		if got := s.relative(files); got != want || err != nil {
			t.Errorf("%s: got %s, %v, want %s", program, got, err, want)
		}
	}
}

func TestWhereLibrariesAreLookedFor(t *testing.T) {
	for _, test := range []struct {
		name, want string
		program    binaryFile
		library    binaryFile // lib/liba.so, which needs libx.so
		there      []string   // directories with a libx.so
		conf       map[string]string
	}{
		{name: "the default directory", there: []string{"lib"}, want: "lib/libx.so"},
		{name: "ld.so.conf before the default directory", there: []string{"lib", "opt"}, want: "opt/libx.so",
			conf: map[string]string{"ld.so.conf": "# libraries\n\nDIR/opt # here\n"}},
		{name: "a file that ld.so.conf includes", there: []string{"opt"}, want: "opt/libx.so",
			conf: map[string]string{"ld.so.conf": "include ld.so.conf.d/*.conf\n", "ld.so.conf.d/opt.conf": "DIR/opt\n"}},
		{name: "RUNPATH of the library", there: []string{"lib", "opt"}, want: "opt/libx.so",
			library: binaryFile{runpath: "/nowhere:DIR/opt"}},
		{name: "RUNPATH of the program is not for its libraries", there: []string{"lib", "opt"}, want: "lib/libx.so",
			program: binaryFile{runpath: "DIR/opt"}},
		{name: "RPATH of the program is", there: []string{"lib", "opt"}, want: "opt/libx.so",
			program: binaryFile{rpath: "DIR/opt"}},
		{name: "but not for a library with RUNPATH", there: []string{"lib", "opt"}, want: "lib/libx.so",
			program: binaryFile{rpath: "DIR/opt"}, library: binaryFile{runpath: "/nowhere"}},
		{name: "$ORIGIN of the program", there: []string{"lib", "bin/private"}, want: "bin/private/libx.so",
			program: binaryFile{rpath: "$ORIGIN/private"}},
		{name: "${ORIGIN} of the library", there: []string{"lib/private"}, want: "lib/private/libx.so",
			library: binaryFile{runpath: "${ORIGIN}/private"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSandbox(t)
			here := func(text string) string { return strings.ReplaceAll(text, "DIR", s.dir) }
			for name, content := range test.conf {
				writeFile(t, filepath.Join(s.etc, name), here(content), 0o644)
			}
			for _, f := range []*binaryFile{&test.program, &test.library} {
				f.rpath, f.runpath = here(f.rpath), here(f.runpath)
			}
			test.program.interpreter, test.program.needed = s.path("lib/ld.so"), []string{"liba.so"}
			test.program.write(t, s.path("bin/program"))
			test.library.needed = []string{"libx.so"}
			test.library.write(t, s.path("lib/liba.so"))
			for _, dir := range test.there {
				binaryFile{}.write(t, s.path(dir+"/libx.so"))
			}
			if got, want := s.needed(t, "bin/program"), "lib/ld.so lib/liba.so "+test.want; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

func TestALibraryOfAnotherArchitectureIsPassedOver(t *testing.T) {
	s := newSandbox(t)
	writeFile(t, filepath.Join(s.etc, "ld.so.conf"), s.path("other")+"\n", 0o644)
	binaryFile{interpreter: s.path("lib/ld.so"), needed: []string{"libx.so"}}.write(t, s.path("program"))
	binaryFile{machine: elf.EM_MIPS}.write(t, s.path("other/libx.so"))
	binaryFile{}.write(t, s.path("lib/libx.so"))
	if got, want := s.needed(t, "program"), "lib/ld.so lib/libx.so"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAMissingLibraryIsNamedWithThePlaces(t *testing.T) {
	s := newSandbox(t)
	binaryFile{interpreter: s.path("lib/ld.so"), needed: []string{"liba.so"}}.write(t, s.path("program"))
	binaryFile{needed: []string{"libgone.so.1"}, runpath: "$ORIGIN/private"}.write(t, s.path("lib/liba.so"))
	_, err := s.needs(s.path("program"))
	want := s.path("program") + " cannot start: " + s.path("lib/liba.so") + " needs libgone.so.1, which is in none of " +
		s.path("lib/private") + ", " + s.path("lib") + ": file does not exist"
	if err == nil || err.Error() != want || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestAMissingDynamicLinkerIsNamed(t *testing.T) {
	s := newSandbox(t)
	binaryFile{interpreter: s.path("lib/ld-gone.so")}.write(t, s.path("program"))
	if _, err := s.needs(s.path("program")); err == nil || !strings.Contains(err.Error(), "the dynamic linker that "+s.path("program")+" asks for") {
		t.Errorf("got %v", err)
	}
}

func TestAProgramOfAnotherArchitectureIsRefused(t *testing.T) {
	s := newSandbox(t)
	binaryFile{machine: elf.EM_MIPS}.write(t, s.path("program"))
	want := s.path("program") + " is a program for EM_MIPS, this machine is "
	if _, err := s.needs(s.path("program")); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s…", err, want)
	}
}

func TestMuslLooksInItsOwnDirectories(t *testing.T) {
	s := newSandbox(t)
	writeFile(t, filepath.Join(s.etc, "ld-musl-x86_64.path"), s.path("one")+"\n"+s.path("two")+":"+s.path("three"), 0o644)
	dirs, err := s.systemDirs(&object{interpreter: "/lib/ld-musl-x86_64.so.1"})
	if err != nil || len(dirs) != 3 || dirs[2] != s.path("three") {
		t.Errorf("got %q, %v", dirs, err)
	}
}

func TestConfThatIncludesItselfIsRefused(t *testing.T) {
	s := newSandbox(t)
	writeFile(t, filepath.Join(s.etc, "ld.so.conf"), "include ld.so.conf\n", 0o644)
	if _, err := readConf(filepath.Join(s.etc, "ld.so.conf"), 0); err == nil || !strings.Contains(err.Error(), "included by itself") {
		t.Errorf("got %v", err)
	}
	if dirs, err := readConf(s.path("etc/gone"), 0); dirs != nil || err != nil {
		t.Errorf("a file that is not there: %q, %v", dirs, err)
	}
}

// TestNeedsAgreesWithTheDynamicLinker asks the host's ld.so about /bin/sh.
func TestNeedsAgreesWithTheDynamicLinker(t *testing.T) {
	files, err := Needs("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 2 {
		t.Skip("requires a /bin/sh with shared libraries (it is static here)")
	}
	listed, err := listLibraries(files[1].Path, "/bin/sh")
	if err != nil {
		t.Skipf("requires a dynamic linker that lists (%v)", err)
	}
	for _, want := range listed {
		wanted, err := os.Stat(want)
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, f := range files {
			info, err := os.Stat(f.Path)
			found = found || err == nil && os.SameFile(info, wanted)
		}
		if !found {
			t.Errorf("ld.so loads %s, Needs lists %v", want, files)
		}
	}
}
