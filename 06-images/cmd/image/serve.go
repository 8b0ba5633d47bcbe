//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	images "drydock.example/06-images"
)

var serve = command{
	usage: "serve ADDRESS:PORT",
	about: "be a registry: let others pull what is here",
	run: func(ctx context.Context, store *images.Store, args []string) (int, error) {
		if len(args) != 1 {
			return 2, errUsage
		}
		l, err := net.Listen("tcp", args[0])
		if err != nil {
			return 1, err
		}
		fmt.Println("serving on", l.Addr())
		server := &http.Server{
			Handler:     store.Handler(),
			BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
		}
		stop := context.AfterFunc(ctx, func() { server.Close() })
		defer stop()
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return 1, err
		}
		return 0, nil
	},
}
