//go:build linux

package engine

import (
	"net"
	"strings"
)

// defaultDetachKeys leave a container's terminal without ending the container.
const defaultDetachKeys = "ctrl-p,ctrl-q"

// parseDetachKeys reads a sequence of keys such as "ctrl-p,ctrl-q" or "a,b".
func parseDetachKeys(s string) ([]byte, error) {
	if s == "" {
		s = defaultDetachKeys
	}
	var keys []byte
	for _, key := range strings.Split(s, ",") {
		letter, control := strings.CutPrefix(key, "ctrl-")
		switch {
		case len(letter) != 1:
			return nil, invalid("invalid detach keys (%s): unknown character: '%s'", s, key)
		case !control:
			keys = append(keys, letter[0])
		case letter[0] >= 'a' && letter[0] <= 'z':
			keys = append(keys, letter[0]-'a'+1)
		case strings.Contains(`@[\]^_`, letter):
			keys = append(keys, letter[0]&0x1f)
		default:
			return nil, invalid("invalid detach keys (%s): unknown character: '%s'", s, key)
		}
	}
	return keys, nil
}

// detachable is the connection to a terminal that ends when its user types the detach keys.
type detachable struct {
	net.Conn
	keys  []byte
	typed int // how many of keys were typed, which are held back until it is clear what they mean
}

func (d *detachable) Write(b []byte) (int, error) {
	out := make([]byte, 0, len(b)+d.typed)
	for i, key := range b {
		if key == d.keys[d.typed] {
			d.typed++
			if d.typed == len(d.keys) {
				if _, err := d.Conn.Write(out); err != nil {
					return i, err
				}
				return i + 1, d.Conn.Close()
			}
			continue
		}
		out = append(out, d.keys[:d.typed]...)
		d.typed = 0
		if key == d.keys[0] {
			d.typed = 1
			continue
		}
		out = append(out, key)
	}
	if len(out) > 0 {
		if _, err := d.Conn.Write(out); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

func (d *detachable) CloseWrite() error { return closeWrite(d.Conn) }
