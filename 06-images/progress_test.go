package images

import (
	"strings"
	"testing"
)

func TestProgressOnATerminal(t *testing.T) {
	var b strings.Builder
	write, end := NewProgressWriter(&b, 100)
	write(Progress{ID: "12", Status: "Pulling from library/debian"})
	write(Progress{ID: "aaaaaaaaaaaa", Status: "Pulling fs layer"})
	write(Progress{ID: "bbbbbbbbbbbb", Status: "Pulling fs layer"})
	write(Progress{ID: "aaaaaaaaaaaa", Status: "Downloading", Current: 1500, Total: 3000})
	write(Progress{ID: "aaaaaaaaaaaa", Status: "Pull complete"})
	write(Progress{Status: "Status: done"})
	end()
	screen := render(b.String())
	want := []string{"12: Pulling from library/debian", "aaaaaaaaaaaa: Pull complete", "bbbbbbbbbbbb: Pulling fs layer", "Status: done"}
	if got := strings.Join(screen, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("the screen shows\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	if !strings.Contains(b.String(), "Downloading [===============>               ] 1.5kB/3kB") {
		t.Errorf("no bar in %q", b.String())
	}
}

// render is what a terminal shows after the two sequences that we use.
func render(s string) []string {
	var screen []string
	row := 0
	for s != "" {
		if up, rest, ok := strings.Cut(s, "A"); ok && strings.HasPrefix(s, "\x1b[") && len(up) == 3 {
			row -= int(up[2] - '0')
			s = rest
			continue
		}
		var text string
		text, s, _ = strings.Cut(s, "\n")
		text = strings.TrimSuffix(text, "\x1b[K")
		if row == len(screen) {
			screen = append(screen, "")
		}
		screen[row] = text
		row++
	}
	return screen
}

func TestProgressElsewhere(t *testing.T) {
	var b strings.Builder
	write, end := NewProgressWriter(&b, 0)
	for _, p := range []Progress{
		{ID: "12", Status: "Pulling from library/debian"},
		{ID: "aaaaaaaaaaaa", Status: "Downloading", Current: 1, Total: 10},
		{ID: "aaaaaaaaaaaa", Status: "Downloading", Current: 9, Total: 10},
		{ID: "aaaaaaaaaaaa", Status: "Pull complete"},
		{Status: "Status: done"},
	} {
		write(p)
	}
	end()
	want := "12: Pulling from library/debian\naaaaaaaaaaaa: Downloading\naaaaaaaaaaaa: Pull complete\nStatus: done\n"
	if b.String() != want {
		t.Errorf("written %q, want %q", b.String(), want)
	}
}

func TestFormatSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0B", 999: "999B", 1000: "1kB", 4853000: "4.853MB", 1234567890: "1.235GB"} {
		if got := FormatSize(n); got != want {
			t.Errorf("FormatSize(%d) = %q, want %q", n, got, want)
		}
	}
}
