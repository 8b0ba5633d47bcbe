//go:build linux

package chroot

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
)

// object is what an ELF file says of its start: elf(5).
type object struct {
	path    string
	class   elf.Class
	machine elf.Machine
	// interpreter is PT_INTERP: the dynamic linker. "" for a static program
	// and for most libraries.
	interpreter string
	// needed are the names in DT_NEEDED, "libc.so.6".
	needed []string
	// rpath and runpath are the directories in DT_RPATH and DT_RUNPATH, not
	// yet expanded.
	rpath, runpath []string
	// origin is what $ORIGIN stands for.
	origin string
	// loader is the object that needed this one, nil for the program.
	loader *object
}

var errNotELF = errors.New(`neither an ELF file nor a "#!" script`)

// readObject reads the tables that the dynamic linker would read.
func readObject(path string) (*object, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	magic := make([]byte, len(elf.ELFMAG))
	if _, err := io.ReadFull(f, magic); err != nil || string(magic) != elf.ELFMAG {
		return nil, fmt.Errorf("%s: %w", path, errNotELF)
	}
	e, err := elf.NewFile(f)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	o := &object{path: path, class: e.Class, machine: e.Machine}
	for _, p := range e.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		name, err := io.ReadAll(io.LimitReader(p.Open(), 4096)) // PATH_MAX
		if err != nil {
			return nil, fmt.Errorf("read PT_INTERP of %s: %w", path, err)
		}
		o.interpreter = strings.TrimRight(string(name), "\x00")
	}
	for _, table := range []struct {
		tag  elf.DynTag
		into *[]string
	}{{elf.DT_NEEDED, &o.needed}, {elf.DT_RPATH, &o.rpath}, {elf.DT_RUNPATH, &o.runpath}} {
		if *table.into, err = e.DynString(table.tag); err != nil {
			return nil, fmt.Errorf("read %v of %s: %w", table.tag, path, err)
		}
	}
	o.rpath, o.runpath = splitPaths(o.rpath), splitPaths(o.runpath)
	return o, nil
}

func splitPaths(lists []string) []string {
	var dirs []string
	for _, l := range lists {
		dirs = append(dirs, strings.Split(l, ":")...)
	}
	return dirs
}

// machines are the kinds of program that a kernel for a GOARCH starts.
var machines = map[string][]elf.Machine{
	"386":     {elf.EM_386},
	"amd64":   {elf.EM_X86_64, elf.EM_386},
	"arm":     {elf.EM_ARM},
	"arm64":   {elf.EM_AARCH64, elf.EM_ARM},
	"loong64": {elf.EM_LOONGARCH},
	"ppc64le": {elf.EM_PPC64},
	"riscv64": {elf.EM_RISCV},
	"s390x":   {elf.EM_S390},
}

// checkMachine refuses a program of another architecture.
func (o *object) checkMachine() error {
	known, ok := machines[runtime.GOARCH]
	for _, m := range known {
		if o.machine == m {
			return nil
		}
	}
	if !ok {
		return nil
	}
	return fmt.Errorf("%s is a program for %v, this machine is %v", o.path, o.machine, known[0])
}
