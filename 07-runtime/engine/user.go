//go:build linux

package engine

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/moby/sys/user"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	overlayfs "drydock.example/04-overlayfs"
)

// maxUserFile bounds what is read of an image's passwd and group, which may be anything.
const maxUserFile = 16 << 20

// lookUpUser resolves what Config.User says (name or uid[:group or gid], "" is root) by the
// container's own /etc/passwd and /etc/group, and returns the home directory too. layers are the
// container's, the topmost first.
func lookUpUser(layers []string, who string) (specs.User, string, error) {
	passwd, err := readLayered(layers, "etc/passwd")
	if err != nil {
		return specs.User{}, "", err
	}
	group, err := readLayered(layers, "etc/group")
	if err != nil {
		return specs.User{}, "", err
	}
	u, err := user.GetExecUser(who, &user.ExecUser{Home: "/"}, bytes.NewReader(passwd), bytes.NewReader(group))
	if err != nil {
		return specs.User{}, "", invalid("%w", err)
	}
	// The user's own group stands among the others too: a file that denies its group something must
	// not be opened up by a program that changes its effective group (GHSA-rc4r-wh2q-q6c4).
	result := specs.User{UID: uint32(u.Uid), GID: uint32(u.Gid), AdditionalGids: []uint32{uint32(u.Gid)}}
	for _, gid := range u.Sgids {
		result.AdditionalGids = append(result.AdditionalGids, uint32(gid))
	}
	return result, u.Home, nil
}

// readLayered reads a file of the container's root before that is mounted. No file is an empty one.
func readLayered(layers []string, name string) ([]byte, error) {
	f, err := overlayfs.Open(layers, name)
	switch {
	case err == nil:
	case isErrno(err, unix.ENOENT, unix.ENOTDIR):
		return nil, nil
	default:
		return nil, invalid("the image's /%s: %w", strings.TrimPrefix(name, "/"), err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxUserFile))
	if err != nil {
		return nil, fmt.Errorf("the image's /%s: %w", name, err)
	}
	return b, nil
}

func isErrno(err error, numbers ...unix.Errno) bool {
	pe, ok := err.(*fs.PathError)
	if !ok {
		return false
	}
	for _, n := range numbers {
		if pe.Err == n {
			return true
		}
	}
	return false
}
