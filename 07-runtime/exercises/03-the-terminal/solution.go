//go:build linux && solution

// Package theterminal is an exercise of chapter 7.
package theterminal

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Receive takes the next connection of the socket and the one descriptor that
// comes with it: the master of a container's terminal.
func Receive(socket *net.UnixListener) (*os.File, error) {
	conn, err := socket.AcceptUnix()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	data, control := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := conn.ReadMsgUnix(data, control) // Go asks for MSG_CMSG_CLOEXEC
	if err != nil {
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil {
		return nil, err
	}
	if len(messages) != 1 {
		return nil, fmt.Errorf("%d control messages: want one", len(messages))
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, err
	}
	if len(fds) != 1 {
		return nil, fmt.Errorf("%d descriptors: want one", len(fds))
	}
	return os.NewFile(uintptr(fds[0]), "terminal"), nil
}
