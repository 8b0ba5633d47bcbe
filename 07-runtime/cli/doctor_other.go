//go:build !linux

package cli

import (
	"context"

	"github.com/moby/moby/client"

	"drydock.example/01-chroot/doctor"
)

// doctor asks what can be asked where containers cannot be: whether there is a
// daemon elsewhere to talk to. What its host lacks, the same command says there.
func (c *cli) doctor(ctx context.Context) error {
	ctx, api, err := c.api(ctx)
	if err == nil {
		_, err = api.Ping(ctx, client.PingOptions{})
	}
	checks := []doctor.Check{{
		Chapter: chapter, Name: "daemon", For: "everything: containers run where it runs",
		Run: func(context.Context) doctor.Result {
			if err != nil {
				return doctor.Result{
					Status: doctor.Missing, Found: c.daemonError(err), Breaks: "all commands",
					Why:  "no daemon answers there",
					Cure: []string{"vagrant up    # in the course's folder: a virtual machine with a daemon in it", "drydock -H ssh://USER@HOST …, or export DRYDOCK_HOST    # a daemon elsewhere"},
				}
			}
			return doctor.Fine("answers; `drydock doctor`, typed where it runs, looks at that host")
		},
	}}
	if err != nil {
		checks = append(doctor.Host(), checks...)
	}
	missing, err := doctor.Examine(ctx, c.out, checks)
	if err != nil {
		return err
	}
	if missing > 0 {
		return &exitError{status: 1}
	}
	return nil
}
