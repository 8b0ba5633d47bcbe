//go:build linux

package api

import (
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
)

// inspect51 is a container as API 1.51 and older describe it: their
// NetworkSettings say again what the endpoint on the default network has. Scripts
// ask for .NetworkSettings.IPAddress to this day.
type inspect51 struct {
	container.InspectResponse
	NetworkSettings *networkSettings51
}

type networkSettings51 struct {
	*container.NetworkSettings
	Bridge      string
	EndpointID  string
	Gateway     string
	IPAddress   string
	IPPrefixLen int
	MacAddress  string
}

// withAddresses returns c with the fields that API 1.52 has dropped.
func withAddresses(c container.InspectResponse) any {
	if c.NetworkSettings == nil {
		return c
	}
	settings := &networkSettings51{NetworkSettings: c.NetworkSettings}
	if e := c.NetworkSettings.Networks[network.NetworkBridge]; e != nil {
		settings.EndpointID, settings.IPPrefixLen, settings.MacAddress = e.EndpointID, e.IPPrefixLen, e.MacAddress.String()
		if e.IPAddress.IsValid() {
			settings.IPAddress = e.IPAddress.String()
		}
		if e.Gateway.IsValid() {
			settings.Gateway = e.Gateway.String()
		}
	}
	return inspect51{InspectResponse: c, NetworkSettings: settings}
}
