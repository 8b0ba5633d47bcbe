//go:build linux

package engine

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
)

// Two words make a name: a state of the sea or the ship, and what swims, floats or stands on the shore.
var (
	nameLeft = strings.Fields(`able afloat amber anchored blue bold brackish brave breezy bright brisk briny calm clear coastal
		copper coral curious daring deep drifting eager early fair fast foggy fresh gentle glad golden grand green hardy
		high honest humble jolly keen kind light lively lucky mellow merry misty moored nimble noble northern open patient
		polar proud quick quiet rapid ready rigged salty sandy seaworthy serene sharp silent silver sleek smooth snug sound
		southern stately steady still stormy stout sturdy sunlit swift tarred tidal tidy tranquil trim true upwind vast
		wakeful warm watchful western wide windy wise young`)
	nameRight = strings.Fields(`albatross anchor anemone anglerfish atoll ballast barge barnacle bay beacon beluga binnacle boatswain
		bollard bowsprit brig buoy cable capstan catamaran clipper cockle cod compass conch coot cormorant cove crab current
		cutter cuttlefish davit dinghy dolphin dory dory dugong eel estuary ferry fender fjord frigate gannet gull gunwale
		halyard harbor hatch hawser heron herring hull inlet islet jetty kelp ketch kittiwake krill lagoon lantern lighter
		limpet lobster lugger mackerel manta marlin mast minnow mooring mussel narwhal nautilus oar octopus orca osprey otter
		oyster paddle pelican penguin pier pilot plaice plankton porpoise prawn prow puffin quay raft reef rigging rudder
		sail salmon sandpiper sardine schooner seahorse seal sextant shanty shoal shrimp skerry skiff sloop spinnaker
		squid starboard starfish stern strait sturgeon tern tide tiller topsail trawler trout tugboat tuna turbot turtle
		urchin walrus whale whelk winch windlass wrack yawl`)
)

// randomName returns a name such as "calm_narwhal"; from the third try on with a number behind it.
func randomName(try int) string {
	name := nameLeft[rand.IntN(len(nameLeft))] + "_" + nameRight[rand.IntN(len(nameRight))]
	if try >= 2 {
		name = fmt.Sprintf("%s%d", name, rand.IntN(1000))
	}
	return name
}

var validName = regexp.MustCompile(`^/?[a-zA-Z0-9][a-zA-Z0-9_.-]+$`)

// reserveName gives name, or a random one when it is empty, to the container id.
func (e *Engine) reserveName(id, name string) (string, error) {
	if name != "" && !validName.MatchString(name) {
		return "", invalid("Invalid container name (%s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", name)
	}
	name = strings.TrimPrefix(name, "/")

	e.mu.Lock()
	defer e.mu.Unlock()
	if name == "" {
		for try := 0; ; try++ {
			name = randomName(try)
			if _, taken := e.names[name]; !taken {
				break
			}
		}
	}
	if holder, taken := e.names[name]; taken {
		return "", conflict("Conflict. The container name %q is already in use by container %q. You have to remove (or rename) that container to be able to reuse that name.", "/"+name, holder)
	}
	e.names[name] = id
	return name, nil
}

// releaseName takes the name from the container id, if it has it.
func (e *Engine) releaseName(id, name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.names[name] == id {
		delete(e.names, name)
	}
}
