//go:build linux

package chroot

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// nameFiles are the tables that a C library looks names up in, and what tells it
// where to look: nsswitch.conf(5), resolv.conf(5), hosts(5), passwd(5) …
var nameFiles = []string{"nsswitch.conf", "passwd", "group", "hosts", "host.conf", "resolv.conf", "gai.conf", "services", "protocols"}

// NameService lists what a dynamic program opens to turn a name of a user, a
// group or a host into a number, or the other way round, as far as the host has
// it: tables in /etc, and the modules that nsswitch.conf(5) names. Those are
// libraries that no table of the program mentions, as glibc loads them when it
// is asked for a name: "files" and "dns" are a part of it since 2.34. /etc/shadow
// is not among them. The program is a path or a name to look up in $PATH.
func NameService(program string) ([]File, error) {
	path, err := lookUp(program)
	if err != nil {
		return nil, err
	}
	return hostLinker.nameService(path)
}

func (l linker) nameService(program string) ([]File, error) {
	var files []File
	for _, name := range nameFiles {
		path := filepath.Join(l.etc, name)
		if _, err := os.Stat(path); err == nil {
			files = append(files, File{path, "to look up names"})
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	o, err := readObject(program)
	if errors.Is(err, errNotELF) || err == nil && o.interpreter == "" {
		return files, nil // a script has it from its interpreter; a static program loads no module
	}
	if err != nil {
		return nil, err
	}
	o.origin = filepath.Dir(program)
	b, err := os.ReadFile(filepath.Join(l.etc, "nsswitch.conf"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	system, err := l.systemDirs(o)
	if err != nil {
		return nil, err
	}
	loaded := map[string]bool{filepath.Base(o.interpreter): true}
	for _, service := range services(string(b)) {
		module, err := find("libnss_"+service+".so.2", o, system)
		if errors.Is(err, fs.ErrNotExist) {
			continue // glibc goes on to the next one as well
		}
		if err != nil {
			return nil, err
		}
		files = append(files, File{module.path, "the service " + service + " of nsswitch.conf"})
		libraries, err := libraries(module, system, loaded)
		if err != nil {
			return nil, err
		}
		files = append(files, libraries...)
	}
	return files, nil
}

// services returns the services of an nsswitch.conf, each once:
// "hosts: files mdns4 [NOTFOUND=return] dns".
func services(conf string) []string {
	var all []string
	for line := range strings.Lines(conf) {
		line, _, _ = strings.Cut(line, "#")
		_, words, _ := strings.Cut(line, ":")
		for _, word := range strings.Fields(words) {
			if !strings.ContainsAny(word, "[]=/") {
				all = append(all, word)
			}
		}
	}
	return unique(all)
}
