//go:build linux && solution

// Package byhand is an exercise of chapter 3.
package byhand

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// Run makes the cgroup dir, a path below a mounted hierarchy with the pids
// controller, allows it tasks processes and threads, runs a program in it and
// removes it. It returns what the program prints.
func Run(dir string, tasks int, program string, args ...string) (output string, err error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.Remove(dir)) }()
	if err := os.WriteFile(filepath.Join(dir, "pids.max"), []byte(strconv.Itoa(tasks)), 0); err != nil {
		return "", err
	}
	// The shell moves itself and becomes the program: $0 is the directory, $@ the program.
	enter := []string{"-c", `echo 0 > "$0/cgroup.procs" && exec "$@"`, dir, program}
	b, err := exec.Command("/bin/sh", append(enter, args...)...).Output()
	return string(b), err
}
