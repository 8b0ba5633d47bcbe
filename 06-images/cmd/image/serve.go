//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	images "drydock.example/06-images"
	"drydock.example/06-images/registry"
	"drydock.example/06-images/registry/htpasswd"
)

var serve = command{
	usage: "serve [--htpasswd FILE] [--cert FILE --key FILE] [--mirror-of HOST] [--keep DURATION] ADDRESS:PORT",
	about: "be a registry, in the directory registry/ of the root",
	alone: true,
	run: func(ctx context.Context, _ *images.Store, args []string) (int, error) {
		flags := flag.NewFlagSet("serve", flag.ContinueOnError)
		users := flags.String("htpasswd", "", "")
		cert := flags.String("cert", "", "")
		key := flags.String("key", "", "")
		mirrorOf := flags.String("mirror-of", "", "")
		keep := flags.Duration("keep", 24*time.Hour, "")
		if flags.Parse(args) != nil || flags.NArg() != 1 || (*cert == "") != (*key == "") || *keep <= 0 {
			return 2, errUsage
		}
		reg, err := registry.Open(filepath.Join(root, "registry"), registry.Options{})
		if err != nil {
			return 1, err
		}
		defer reg.Close()
		var handler http.Handler = reg
		if *mirrorOf != "" {
			upstream := registry.Upstream{Host: *mirrorOf}
			if upstream.Credentials, err = images.DockerCredentials(ctx, *mirrorOf); err != nil {
				return 1, err
			}
			if upstream.Registries, err = images.ReadRegistries(config); err != nil {
				return 1, err
			}
			mirror := registry.NewMirror(reg, upstream)
			defer mirror.Close()
			handler = mirror
		}
		server := &http.Server{
			Handler:           handler,
			BaseContext:       func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
			ReadHeaderTimeout: 30 * time.Second,
		}
		if *users != "" {
			known, err := htpasswd.Read(*users)
			if err != nil {
				return 1, err
			}
			server.Handler = known.Guard(handler)
		}
		l, err := net.Listen("tcp", flags.Arg(0))
		if err != nil {
			return 1, err
		}
		fmt.Println("serving on", l.Addr())
		ctx, cancel := context.WithCancel(ctx)
		collected := make(chan struct{})
		go func() {
			defer close(collected)
			collect(ctx, reg, *keep)
		}()
		defer func() {
			cancel()
			<-collected
		}()
		stop := context.AfterFunc(ctx, func() { server.Close() })
		defer stop()
		if *cert != "" {
			err = server.ServeTLS(l, *cert, *key)
		} else {
			err = server.Serve(l)
		}
		if !errors.Is(err, http.ErrServerClosed) {
			return 1, err
		}
		return 0, nil
	},
}

// collect removes, now and every hour, what no manifest has named for as long
// as keep.
func collect(ctx context.Context, reg *registry.Registry, keep time.Duration) {
	ticker := time.NewTicker(time.Hour)
	defer ticker.Stop()
	for {
		freed, err := reg.Collect(ctx, keep)
		if err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "image: collect:", err)
		} else if freed > 0 {
			fmt.Println("freed", images.FormatSize(freed))
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}
