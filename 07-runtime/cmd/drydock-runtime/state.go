//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
)

func state(_ context.Context, g *global, args []string) error {
	rest, err := parse(options("state"), args, "<container-id>", 1, 1)
	if err != nil {
		return err
	}
	s, err := g.State(rest[0])
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	fmt.Printf("%s\n", b)
	return nil
}
