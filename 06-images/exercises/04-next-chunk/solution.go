//go:build solution

// Package nextchunk is an exercise of chapter 6.
package nextchunk

import (
	"strconv"
	"strings"
)

// Answer returns the status for a PATCH of an upload of which have bytes are
// here: 202 where its bytes are the next ones, 416 where they are not or where
// contentRange (START-END, both included; "" for none) cannot be read, and 400 where length, the value of Content-Length, is not
// that of the range.
func Answer(have int64, contentRange string, length int64) int {
	if contentRange == "" {
		return 202
	}
	from, to, ok := strings.Cut(contentRange, "-")
	start, startErr := strconv.ParseUint(from, 10, 62)
	end, endErr := strconv.ParseUint(to, 10, 62)
	switch {
	case !ok || startErr != nil || endErr != nil || int64(start) != have || end < start:
		return 416
	case int64(end-start)+1 != length:
		return 400
	}
	return 202
}
