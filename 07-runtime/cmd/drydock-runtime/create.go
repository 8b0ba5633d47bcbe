//go:build linux

package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"drydock.example/07-runtime/oci"
)

func create(ctx context.Context, g *global, args []string) error {
	fs := options("create")
	var opt oci.CreateOptions
	createOptions(fs, &opt)
	rest, err := parse(fs, args, "<container-id>", 1, 1)
	if err != nil {
		return err
	}
	if err := fromService(&opt); err != nil {
		return err
	}
	if err := g.Create(ctx, rest[0], opt); err != nil {
		return fmt.Errorf("%s create failed: %w", name, err)
	}
	return nil
}

// createOptions are those that create and run share.
func createOptions(fs *flag.FlagSet, opt *oci.CreateOptions) {
	fs.StringVar(&opt.Bundle, "bundle", ".", "the bundle's directory")
	fs.StringVar(&opt.Bundle, "b", ".", "the bundle's directory")
	fs.StringVar(&opt.ConsoleSocket, "console-socket", "", "Unix socket that receives the terminal's master")
	fs.StringVar(&opt.PidFile, "pid-file", "", "file that receives the process id")
	fs.StringVar(&opt.PidfdSocket, "pidfd-socket", "", "Unix socket that receives a pidfd of the process")
	fs.IntVar(&opt.PreserveFDs, "preserve-fds", 0, "how many further descriptors the program gets, beside its streams and LISTEN_FDS")
	fs.BoolVar(&opt.NoNewKeyring, "no-new-keyring", false, "keep the caller's session keyring")
	fs.Bool("no-mount-fallback", false, "accepted for runc's sake: no mount is tried a second time here")
	fs.BoolVar(&opt.NoPivot, "no-pivot", false, "do not use pivot_root, which cannot leave a ramdisk")
}

// fromService adds what a service manager tells in the environment: sockets
// that it has opened, and where to say that all is ready.
func fromService(opt *oci.CreateOptions) error {
	opt.ListenFDs, opt.NotifySocket = listenFDs(), os.Getenv("NOTIFY_SOCKET")
	return checkInherited(opt.ListenFDs, opt.PreserveFDs)
}

// inherited is how many descriptors, from 3 on, the caller has left open. It is
// counted before this process opens one: of its own none may go to a container.
var inherited = func() (n int) {
	for {
		if _, err := unix.FcntlInt(uintptr(3+n), unix.F_GETFD, 0); err != nil {
			return n
		}
		n++
	}
}()

// checkInherited refuses to hand over descriptors that the caller has not opened.
func checkInherited(listen, preserve int) error {
	if n := listen + preserve; n > inherited {
		return fmt.Errorf("unable to stat preserved-fd %d (of %d): descriptor %d is not open", inherited, n, 3+inherited)
	}
	return nil
}

// listenFDs is how many sockets a service manager has opened for this process
// (sd_listen_fds(3)).
func listenFDs() int {
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return 0
	}
	n, _ := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	return max(n, 0)
}
