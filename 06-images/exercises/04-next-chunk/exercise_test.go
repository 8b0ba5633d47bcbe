//go:build exercise || solution

package nextchunk

import "testing"

func TestAnswer(t *testing.T) {
	for _, tt := range []struct {
		name         string
		have         int64
		contentRange string
		length       int64
		want         int
		hint         string
	}{
		{"the first chunk", 0, "0-2", 3, 202, "it begins at 0, and nothing is here"},
		{"the next chunk", 3, "3-9", 7, 202, "it begins right behind what is here"},
		{"all that follows", 3, "", 100, 202, "without a range it is the next by definition"},
		{"the first chunk again", 3, "0-2", 3, 416, "written again, the blob has it twice, and only the digest at the very end says so"},
		{"a chunk too far", 3, "5-9", 5, 416, "bytes 3 and 4 would be missing"},
		{"half old, half new", 3, "2-5", 4, 416, "it does not begin right behind what is here"},
		{"backwards", 3, "3-2", 0, 416, "no range ends before it begins"},
		{"not a range", 0, "bytes 0-2/9", 3, 416, "this is HTTP's form, and not the one of the distribution specification"},
		{"negative", 0, "-1-2", 3, 416, "where does it begin?"},
		{"no end", 0, "0-", 3, 416, "where does it end?"},
		{"too few bytes", 3, "3-9", 5, 400, "Content-Length contradicts the range"},
		{"one byte too many", 0, "0-2", 4, 400, "both ends belong to the range"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Answer(tt.have, tt.contentRange, tt.length); got != tt.want {
				t.Errorf("Answer(%d, %q, %d) = %d, want %d: %s", tt.have, tt.contentRange, tt.length, got, tt.want, tt.hint)
			}
		})
	}
}
