//go:build linux

package chroot

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// binaryFile describes an ELF file that is all tables and no code.
type binaryFile struct {
	machine        elf.Machine
	interpreter    string
	needed         []string
	rpath, runpath string
}

// write makes the file: ELF header, PT_INTERP and PT_DYNAMIC, .dynamic, .dynstr.
func (f binaryFile) write(t *testing.T, path string) {
	t.Helper()
	if f.machine == 0 {
		f.machine = machines[runtime.GOARCH][0]
	}
	names := []byte{0}
	add := func(s string) uint64 {
		at := len(names)
		names = append(append(names, s...), 0)
		return uint64(at)
	}
	var dynamic []elf.Dyn64
	for _, n := range f.needed {
		dynamic = append(dynamic, elf.Dyn64{Tag: int64(elf.DT_NEEDED), Val: add(n)})
	}
	if f.rpath != "" {
		dynamic = append(dynamic, elf.Dyn64{Tag: int64(elf.DT_RPATH), Val: add(f.rpath)})
	}
	if f.runpath != "" {
		dynamic = append(dynamic, elf.Dyn64{Tag: int64(elf.DT_RUNPATH), Val: add(f.runpath)})
	}
	dynamic = append(dynamic, elf.Dyn64{})
	interpreter := append([]byte(f.interpreter), 0)

	const headers = 64 + 2*56
	dynamicAt := uint64(headers)
	dynamicSize := uint64(len(dynamic) * 16)
	namesAt := dynamicAt + dynamicSize
	interpreterAt := namesAt + uint64(len(names))
	sectionsAt := interpreterAt + uint64(len(interpreter))
	programs := []elf.Prog64{{Type: uint32(elf.PT_DYNAMIC), Off: dynamicAt, Filesz: dynamicSize}}
	if f.interpreter != "" {
		programs = append(programs, elf.Prog64{Type: uint32(elf.PT_INTERP), Off: interpreterAt, Filesz: uint64(len(interpreter))})
	} else {
		programs = append(programs, elf.Prog64{Type: uint32(elf.PT_NULL)})
	}
	header := elf.Header64{
		Ident: [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_DYN), Machine: uint16(f.machine), Version: uint32(elf.EV_CURRENT),
		Phoff: 64, Shoff: sectionsAt, Ehsize: 64, Phentsize: 56, Phnum: 2, Shentsize: 64, Shnum: 3, Shstrndx: 2,
	}
	sections := []elf.Section64{
		{},
		{Type: uint32(elf.SHT_DYNAMIC), Off: dynamicAt, Size: dynamicSize, Link: 2, Entsize: 16},
		{Type: uint32(elf.SHT_STRTAB), Off: namesAt, Size: uint64(len(names))},
	}
	var b bytes.Buffer
	for _, part := range []any{header, programs, dynamic, names, interpreter, sections} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, path, b.String(), 0o755)
}

// writeFile makes a file and the directories above it.
func writeFile(t *testing.T, path, content string, perm os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), perm); err != nil {
		t.Fatal(err)
	}
}

func TestReadObject(t *testing.T) {
	path := filepath.Join(t.TempDir(), "program")
	binaryFile{interpreter: "/lib/ld.so", needed: []string{"liba.so", "libb.so"}, rpath: "/r:/s", runpath: "$ORIGIN"}.write(t, path)
	o, err := readObject(path)
	if err != nil {
		t.Fatal(err)
	}
	if o.interpreter != "/lib/ld.so" {
		t.Errorf("interpreter %q", o.interpreter)
	}
	for _, list := range []struct{ got, want []string }{
		{o.needed, []string{"liba.so", "libb.so"}}, {o.rpath, []string{"/r", "/s"}}, {o.runpath, []string{"$ORIGIN"}},
	} {
		if strings.Join(list.got, " ") != strings.Join(list.want, " ") {
			t.Errorf("got %q, want %q", list.got, list.want)
		}
	}
}

func TestReadObjectRefusesWhatIsNoELF(t *testing.T) {
	dir := t.TempDir()
	for content, want := range map[string]string{
		"":                     "neither an ELF file nor a",
		"hello, world":         "neither an ELF file nor a",
		"\x7fELF and no more.": "read ",
	} {
		path := filepath.Join(dir, "file")
		writeFile(t, path, content, 0o755)
		if _, err := readObject(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", content, err, want)
		}
	}
}

// FuzzReadObject: whatever the file holds, the answer is an object or an error.
func FuzzReadObject(f *testing.F) {
	f.Add([]byte("\x7fELF\x02\x01\x01"))
	if self, err := os.ReadFile("/bin/true"); err == nil {
		f.Add(self)
	}
	path := filepath.Join(f.TempDir(), "program")
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(path, b, 0o755); err != nil {
			t.Fatal(err)
		}
		_, _ = readObject(path)
	})
}
