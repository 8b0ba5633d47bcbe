//go:build linux

package chroot

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// File is a file that a program cannot start without.
type File struct {
	// Path is absolute and may lead through symbolic links.
	Path string
	// Why is a few words for --explain.
	Why string
}

// maxScripts is how many #! lines the kernel follows (execve(2), "Interpreter
// scripts").
const maxScripts = 4

// Needs lists program, an absolute path, and every file that the kernel and
// the dynamic linker open to start it: interpreters and shared libraries. Each
// stands once, the program first.
func Needs(program string) ([]File, error) {
	files := []File{{program, "the program itself"}}
	for range maxScripts + 1 {
		head, err := readHead(program)
		if err != nil {
			return nil, err
		}
		if !bytes.HasPrefix(head, []byte("#!")) {
			libraries, err := hostLinker.needs(program)
			if err != nil {
				return nil, err
			}
			return append(files, libraries...), nil
		}
		// A script: the kernel starts the program that its first line names.
		words := strings.Fields(string(head[2:]))
		if len(words) == 0 {
			return nil, fmt.Errorf("%s: its first line is #! without an interpreter", program)
		}
		script := program
		program = words[0]
		files = append(files, File{program, "the interpreter of the script " + filepath.Base(script)})
		if filepath.Base(program) != "env" || len(words) == 1 {
			continue
		}
		// env looks the real interpreter up in $PATH.
		libraries, err := hostLinker.needs(program)
		if err != nil {
			return nil, err
		}
		files = append(files, libraries...)
		if program, err = exec.LookPath(words[len(words)-1]); err != nil {
			return nil, fmt.Errorf("the interpreter of %s: %w", script, err)
		}
		files = append(files, File{program, "the interpreter that env starts for " + filepath.Base(script)})
	}
	return nil, fmt.Errorf("%s: more than %d interpreters, one for the other", files[0].Path, maxScripts)
}

// readHead returns the first line of an executable file, without its end, or
// as much of it as the kernel looks at.
func readHead(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0 {
		return nil, fmt.Errorf("%s is not an executable file (%s)", path, info.Mode())
	}
	head, err := bufio.NewReaderSize(io.LimitReader(f, 256), 256).ReadSlice('\n')
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return bytes.TrimSuffix(head, []byte("\n")), nil
}
