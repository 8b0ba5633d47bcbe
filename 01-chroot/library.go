//go:build linux

package chroot

import (
	"bufio"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// linker looks for libraries where the dynamic linker does: ld.so(8).
type linker struct {
	// etc is the directory of ld.so.conf.
	etc string
	// defaults are the directories that glibc has built in; %s is the
	// multiarch name, such as x86_64-linux-gnu.
	defaults []string
}

var hostLinker = linker{
	etc:      "/etc",
	defaults: []string{"/lib/%s", "/usr/lib/%s", "/lib64", "/usr/lib64", "/lib", "/usr/lib"},
}

// multiarch is the directory name of a machine's libraries on Debian and its
// relatives.
var multiarch = map[elf.Machine]string{
	elf.EM_386:     "i386-linux-gnu",
	elf.EM_AARCH64: "aarch64-linux-gnu",
	elf.EM_ARM:     "arm-linux-gnueabihf",
	elf.EM_PPC64:   "powerpc64le-linux-gnu",
	elf.EM_RISCV:   "riscv64-linux-gnu",
	elf.EM_S390:    "s390x-linux-gnu",
	elf.EM_X86_64:  "x86_64-linux-gnu",
}

// needs lists the dynamic linker and the libraries of an ELF program, those
// that libraries need included, in the order in which they are loaded.
func (l linker) needs(program string) ([]File, error) {
	o, err := readObject(program)
	if err != nil {
		return nil, err
	}
	if err := o.checkMachine(); err != nil {
		return nil, err
	}
	if o.interpreter == "" {
		return nil, nil // static
	}
	real, err := filepath.EvalSymlinks(program)
	if err != nil {
		return nil, err
	}
	o.origin = filepath.Dir(real)
	name := filepath.Base(program)
	if _, err := os.Stat(o.interpreter); err != nil {
		return nil, fmt.Errorf("the dynamic linker that %s asks for: %w", program, err)
	}
	files := []File{{o.interpreter, "the dynamic linker that " + name + " asks for"}}
	system, err := l.systemDirs(o)
	if err != nil {
		return nil, err
	}
	// The dynamic linker is a library as well, and libc needs it by name.
	loaded := map[string]bool{filepath.Base(o.interpreter): true}
	more, err := libraries(o, system, loaded)
	if err != nil {
		return nil, fmt.Errorf("%s cannot start: %w", program, err)
	}
	return append(files, more...), nil
}

// libraries lists the libraries that o needs and those that they need, breadth
// first, but those that are loaded already.
func libraries(o *object, system []string, loaded map[string]bool) ([]File, error) {
	var files []File
	for queue := []*object{o}; len(queue) > 0; queue = queue[1:] {
		for _, library := range queue[0].needed {
			if loaded[library] {
				continue
			}
			loaded[library] = true
			found, err := find(library, queue[0], system)
			if err != nil {
				return nil, err
			}
			files = append(files, File{found.path, library + ", which " + filepath.Base(queue[0].path) + " needs"})
			queue = append(queue, found)
		}
	}
	return files, nil
}

// find returns the library that by needs: the first of its name, and of the
// same architecture, in the directories that count for by.
func find(library string, by *object, system []string) (*object, error) {
	var looked []string
	try := func(path string) (*object, error) {
		looked = append(looked, filepath.Dir(path))
		o, err := readObject(path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotELF) {
			return nil, nil // as ld.so does: go on
		}
		if err != nil || o.class != by.class || o.machine != by.machine {
			return nil, err
		}
		o.loader, o.origin = by, filepath.Dir(path)
		return o, nil
	}
	candidates := []string{by.expand(library)}
	if !strings.Contains(library, "/") {
		candidates = nil
		for _, dir := range append(by.searchDirs(), system...) {
			candidates = append(candidates, filepath.Join(dir, library))
		}
	}
	for _, c := range candidates {
		if o, err := try(c); o != nil || err != nil {
			return o, err
		}
	}
	return nil, fmt.Errorf("%s needs %s, which is in none of %s: %w",
		by.path, library, strings.Join(unique(looked), ", "), fs.ErrNotExist)
}

// searchDirs are the directories that the object itself names: DT_RUNPATH, or
// where there is none DT_RPATH, its own and that of whoever loaded it.
func (o *object) searchDirs() []string {
	var dirs []string
	if o.runpath == nil {
		for by := o; by != nil; by = by.loader {
			if by.runpath == nil {
				dirs = append(dirs, by.expandAll(by.rpath)...)
			}
		}
	}
	return append(dirs, o.expandAll(o.runpath)...)
}

func (o *object) expandAll(dirs []string) []string {
	var all []string
	for _, d := range dirs {
		all = append(all, o.expand(d))
	}
	return all
}

// expand replaces $ORIGIN by the directory of the object.
func (o *object) expand(path string) string {
	return strings.NewReplacer("${ORIGIN}", o.origin, "$ORIGIN", o.origin).Replace(path)
}

// systemDirs are the directories for every program: those of ld.so.conf and
// those built in.
func (l linker) systemDirs(o *object) ([]string, error) {
	if musl, ok := strings.CutPrefix(filepath.Base(o.interpreter), "ld-musl-"); ok {
		conf := filepath.Join(l.etc, "ld-musl-"+strings.TrimSuffix(musl, ".so.1")+".path")
		if b, err := os.ReadFile(conf); err == nil {
			return strings.FieldsFunc(string(b), func(r rune) bool { return r == ':' || r == '\n' }), nil
		}
		return []string{"/lib", "/usr/local/lib", "/usr/lib"}, nil
	}
	dirs, err := readConf(filepath.Join(l.etc, "ld.so.conf"), 0)
	if err != nil {
		return nil, err
	}
	for _, d := range l.defaults {
		if strings.Contains(d, "%s") {
			name, ok := multiarch[o.machine]
			if !ok {
				continue
			}
			d = fmt.Sprintf(d, name)
		}
		dirs = append(dirs, d)
	}
	return unique(dirs), nil
}

// readConf reads ld.so.conf: a directory a line, comments after "#", and
// "include PATTERN". A file that is not there names no directory.
func readConf(path string, depth int) ([]string, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if depth > 8 {
		return nil, fmt.Errorf("%s: included by itself", path)
	}
	var dirs []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "hwcap" {
			continue
		}
		if words[0] != "include" {
			dirs = append(dirs, words[0])
			continue
		}
		for _, pattern := range words[1:] {
			if !filepath.IsAbs(pattern) {
				pattern = filepath.Join(filepath.Dir(path), pattern)
			}
			included, err := filepath.Glob(pattern)
			if err != nil {
				return nil, fmt.Errorf("%s: include %s: %w", path, pattern, err)
			}
			for _, i := range included {
				more, err := readConf(i, depth+1)
				if err != nil {
					return nil, err
				}
				dirs = append(dirs, more...)
			}
		}
	}
	return dirs, lines.Err()
}

// unique drops what stands a second time.
func unique(all []string) []string {
	seen := map[string]bool{}
	var kept []string
	for _, s := range all {
		if !seen[s] {
			seen[s] = true
			kept = append(kept, s)
		}
	}
	return kept
}
