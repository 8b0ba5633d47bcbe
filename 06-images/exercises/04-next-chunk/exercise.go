//go:build !solution

// Package nextchunk is an exercise of chapter 6.
package nextchunk

// Answer returns the status for a PATCH of an upload of which have bytes are
// here: 202 where its bytes are the next ones, 416 where they are not or where
// contentRange (START-END, both included; "" for none) cannot be read, and 400 where length, the value of Content-Length, is not
// that of the range.
func Answer(have int64, contentRange string, length int64) int {
	return 202
}
