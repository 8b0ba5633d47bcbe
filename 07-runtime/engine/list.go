//go:build linux

package engine

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
)

// ContainerList returns the running containers, newest first; with all, a limit above zero or
// a filter on the state also those that do not run.
// Filters: id, name, label, status, exited, ancestor, network, before, since.
func (e *Engine) ContainerList(ctx context.Context, all bool, limit int, filters Filters) ([]container.Summary, error) {
	keep, stopped, err := e.containerFilter(filters)
	if err != nil {
		return nil, err
	}
	all = all || stopped || limit > 0

	type entry struct {
		container *Container
		rec       record
		removing  bool
	}
	var entries []entry
	for _, c := range e.all() {
		rec, _, removing := c.snapshot()
		if (all || rec.State.running()) && keep(&rec, removing) {
			entries = append(entries, entry{c, rec, removing})
		}
	}
	slices.SortFunc(entries, func(a, b entry) int {
		return cmp.Or(b.rec.Created.Compare(a.rec.Created), cmp.Compare(a.rec.ID, b.rec.ID))
	})
	if limit > 0 && len(entries) > limit {
		entries = entries[:limit]
	}

	list := make([]container.Summary, 0, len(entries))
	for _, en := range entries {
		list = append(list, e.summary(&en.rec, en.removing))
	}
	return list, nil
}

func (e *Engine) summary(r *record, removing bool) container.Summary {
	s := container.Summary{
		ID:              r.ID,
		Names:           []string{"/" + r.Name},
		Image:           e.imageName(r),
		ImageID:         r.Image.String(),
		Command:         commandLine(r.Path, r.Args),
		Created:         r.Created.Unix(),
		Ports:           portSummaries(r),
		Labels:          r.Config.Labels,
		State:           r.status(removing),
		Status:          statusText(r, removing, time.Now()),
		NetworkSettings: &container.NetworkSettingsSummary{Networks: e.endpointSettings(r)},
		Mounts:          mountPoints(r),
	}
	s.HostConfig.NetworkMode = string(r.HostConfig.NetworkMode)
	if s.Labels == nil {
		s.Labels = map[string]string{}
	}
	return s
}

// imageName is the name the container was made with, or the image's ID once that name stands for another image.
func (e *Engine) imageName(r *record) string {
	img, err := e.images.Get(r.Config.Image)
	if err != nil || img.ID != r.Image {
		return r.Image.String()
	}
	return r.Config.Image
}

// statusText is the state in docker ps's words: "Up 3 minutes", "Exited (0) 2 hours ago".
func statusText(r *record, removing bool, now time.Time) string {
	switch {
	case removing:
		return "Removal In Progress"
	case r.State.running():
		return "Up " + units.HumanDuration(now.Sub(r.State.StartedAt))
	case r.State.Status == container.StateExited && !r.State.FinishedAt.IsZero():
		return fmt.Sprintf("Exited (%d) %s ago", r.State.ExitCode, units.HumanDuration(now.Sub(r.State.FinishedAt)))
	default:
		return "Created"
	}
}

// containerFilter returns what the filters keep, and whether they ask for containers that do not run.
func (e *Engine) containerFilter(filters Filters) (keep func(r *record, removing bool) bool, stopped bool, err error) {
	var tests []func(r *record, removing bool) bool
	for key, values := range filters {
		// Values of one key are alternatives, except labels, which must all be there.
		var any []func(r *record, removing bool) bool
		for value := range values {
			switch key {
			case "id":
				any = append(any, func(r *record, _ bool) bool { return strings.HasPrefix(r.ID, value) })
			case "name":
				match, err := nameMatcher(value)
				if err != nil {
					return nil, false, err
				}
				any = append(any, func(r *record, _ bool) bool { return match(r.Name) })
			case "label":
				tests = append(tests, func(r *record, _ bool) bool { return hasLabel(r.Config.Labels, value) })
			case "status":
				want := container.ContainerState(value)
				if err := container.ValidateContainerState(want); err != nil {
					return nil, false, invalid("invalid filter 'status=%s': %w", value, err)
				}
				stopped = true
				any = append(any, func(r *record, removing bool) bool { return r.status(removing) == want })
			case "exited":
				code, err := strconv.Atoi(value)
				if err != nil {
					return nil, false, invalid("invalid filter 'exited=%s'", value)
				}
				stopped = true
				any = append(any, func(r *record, _ bool) bool {
					return r.State.Status == container.StateExited && r.State.ExitCode == code
				})
			case "ancestor":
				img, err := e.images.Get(value)
				any = append(any, func(r *record, _ bool) bool { return err == nil && r.Image == img.ID })
			case "network":
				any = append(any, func(r *record, _ bool) bool { return r.HostConfig.NetworkMode.NetworkName() == value })
			case "before", "since":
				c, err := e.find(value)
				if err != nil {
					return nil, false, err
				}
				mark, _, _ := c.snapshot()
				any = append(any, func(r *record, _ bool) bool {
					if key == "before" {
						return r.Created.Before(mark.Created)
					}
					return r.Created.After(mark.Created)
				})
			default:
				return nil, false, invalid("invalid filter '%s'", key)
			}
		}
		if len(any) > 0 {
			tests = append(tests, func(r *record, removing bool) bool {
				return slices.ContainsFunc(any, func(test func(*record, bool) bool) bool { return test(r, removing) })
			})
		}
	}
	return func(r *record, removing bool) bool {
		return !slices.ContainsFunc(tests, func(test func(*record, bool) bool) bool { return !test(r, removing) })
	}, stopped, nil
}

// hasLabel tells whether labels have "key" or "key=value".
func hasLabel(labels map[string]string, want string) bool {
	key, value, withValue := strings.Cut(want, "=")
	have, ok := labels[key]
	return ok && (!withValue || have == value)
}

func portSummaries(r *record) []container.PortSummary {
	ports := []container.PortSummary{}
	published := map[network.Port]bool{}
	if r.Endpoint != nil {
		for _, p := range r.Endpoint.Ports {
			port, _ := network.PortFrom(p.ContainerPort, network.IPProtocol(p.Protocol))
			published[port] = true
			for _, host := range hostAddresses(p) {
				ports = append(ports, container.PortSummary{IP: host, PrivatePort: p.ContainerPort, PublicPort: p.HostPort, Type: p.Protocol})
			}
		}
	}
	if r.State.running() {
		for port := range r.Config.ExposedPorts {
			if !published[port] {
				ports = append(ports, container.PortSummary{PrivatePort: port.Num(), Type: string(port.Proto())})
			}
		}
	}
	slices.SortFunc(ports, func(a, b container.PortSummary) int {
		return cmp.Or(cmp.Compare(a.PrivatePort, b.PrivatePort), cmp.Compare(a.Type, b.Type), a.IP.Compare(b.IP), cmp.Compare(a.PublicPort, b.PublicPort))
	})
	return ports
}

// nameMatcher matches a container's name, with or without its slash, by a regular expression.
func nameMatcher(pattern string) (func(string) bool, error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, invalid("invalid filter 'name=%s': %w", pattern, err)
	}
	return func(name string) bool { return re.MatchString(name) || re.MatchString("/"+name) }, nil
}

// commandLine shows a command as Docker's lists do: arguments with a blank are quoted.
func commandLine(path string, args []string) string {
	line := path
	for _, arg := range args {
		if strings.Contains(arg, " ") {
			arg = "'" + arg + "'"
		}
		line += " " + arg
	}
	return line
}
