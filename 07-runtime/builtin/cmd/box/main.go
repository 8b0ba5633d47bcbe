//go:build linux

// Box is a small userland in one program: it is the command by whose name it
// is called, or the one that its first argument names.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/u-root/u-root/pkg/core"
	"github.com/u-root/u-root/pkg/core/base64"
	"github.com/u-root/u-root/pkg/core/cat"
	"github.com/u-root/u-root/pkg/core/chmod"
	"github.com/u-root/u-root/pkg/core/cp"
	"github.com/u-root/u-root/pkg/core/find"
	"github.com/u-root/u-root/pkg/core/gzip"
	"github.com/u-root/u-root/pkg/core/ls"
	"github.com/u-root/u-root/pkg/core/mkdir"
	"github.com/u-root/u-root/pkg/core/mktemp"
	"github.com/u-root/u-root/pkg/core/mv"
	"github.com/u-root/u-root/pkg/core/rm"
	"github.com/u-root/u-root/pkg/core/shasum"
	"github.com/u-root/u-root/pkg/core/tar"
	"github.com/u-root/u-root/pkg/core/touch"
	"github.com/u-root/u-root/pkg/core/xargs"
	"golang.org/x/sys/unix"
	"mvdan.cc/sh/v3/interp"
)

// fromURoot are the commands that u-root has as packages.
var fromURoot = map[string]func() core.Command{
	"base64": base64.New, "cat": cat.New, "chmod": chmod.New, "cp": cp.New, "find": find.New, "ls": ls.New, "mkdir": mkdir.New,
	"mktemp": mktemp.New, "mv": mv.New, "rm": rm.New, "tar": tar.New, "touch": touch.New, "xargs": xargs.New,
	"gzip":   func() core.Command { return gzip.New("gzip") },
	"shasum": shasum.New,
}

// ours are the few others that a first look around needs.
var ours = map[string]func(args []string) error{
	"sh": shell, "env": env, "grep": grep, "head": head, "hostname": hostname, "httpd": httpd, "id": id, "mount": mount,
	"ps": ps, "sleep": sleep, "uname": uname, "wc": wc, "wget": wget, "yes": yes,
	"true":  func([]string) error { return nil },
	"false": func([]string) error { return status(1) },
}

// status is an exit status that needs no message.
type status int

func (s status) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

func main() {
	name, args := filepath.Base(os.Args[0]), os.Args[1:]
	if name == "box" {
		if len(args) == 0 {
			fmt.Fprintln(os.Stderr, "usage: box COMMAND [ARG...]")
			os.Exit(2)
		}
		name, args = args[0], args[1:]
	}
	// As a container's process 1 it must ask for the signal that ends it: the
	// kernel delivers none that has no handler.
	terminate := make(chan os.Signal, 1)
	signal.Notify(terminate, unix.SIGTERM)
	go func() {
		<-terminate
		os.Exit(128 + int(unix.SIGTERM))
	}()
	err := run(name, args)
	var code interp.ExitStatus
	var ended status
	switch {
	case err == nil:
	case errors.As(err, &code):
		os.Exit(int(code))
	case errors.As(err, &ended):
		os.Exit(int(ended))
	default:
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

func run(name string, args []string) error {
	if do, ok := ours[name]; ok {
		return do(args)
	}
	if new, ok := fromURoot[name]; ok {
		c := new()
		c.SetIO(os.Stdin, os.Stdout, os.Stderr)
		c.SetLookupEnv(os.LookupEnv)
		return c.RunContext(context.Background(), args...)
	}
	return errors.New("box has no such command")
}
