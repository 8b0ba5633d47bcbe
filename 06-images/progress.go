package images

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// Progress is one thing that happened to one part of a pull, in Docker's words.
type Progress struct {
	ID             string // 12 digits of a layer's digest; a tag; "" for the image as a whole
	Status         string // "Pulling fs layer", "Downloading", "Download complete", "Pull complete", "Already exists", …
	Current, Total int64  // bytes, while Status is "Downloading"
}

// NewProgressWriter returns a function that writes what it is told to w, and
// one that ends the writing. On a terminal every layer has a line, which moves on in its place;
// elsewhere a line is written whenever a layer's status changes. width is the
// terminal's in columns, 0 for no terminal.
func NewProgressWriter(w io.Writer, width int) (write func(Progress), end func()) {
	p := &progressWriter{w: w, width: width, at: make(map[string]int)}
	return p.write, p.flush
}

type progressWriter struct {
	mu    sync.Mutex
	w     io.Writer
	width int
	lines []Progress     // the layers, in the order in which they came
	at    map[string]int // the index in lines, by ID
	drawn int            // how many lines stand on the terminal
	last  time.Time
}

func (p *progressWriter) write(event Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i, known := p.at[event.ID]
	changed := !known || p.lines[i].Status != event.Status
	switch {
	case event.ID == "" || strings.HasPrefix(event.Status, "Pulling from "):
		// About the image as a whole: below all layers, or above them.
		p.draw()
		p.lines, p.at, p.drawn = nil, make(map[string]int), 0
		fmt.Fprintln(p.w, line(event))
		return
	case known:
		p.lines[i] = event
	default:
		p.at[event.ID] = len(p.lines)
		p.lines = append(p.lines, event)
	}
	switch {
	case p.width == 0 && changed:
		fmt.Fprintln(p.w, line(Progress{ID: event.ID, Status: event.Status}))
	case p.width > 0 && (changed || time.Since(p.last) > 100*time.Millisecond):
		p.draw()
	}
}

func (p *progressWriter) flush() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.draw()
}

// draw writes all lines over those that stand there.
func (p *progressWriter) draw() {
	if p.width == 0 || len(p.lines) == 0 {
		return
	}
	var b strings.Builder
	if p.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", p.drawn) // up, to the first of them
	}
	for _, event := range p.lines {
		text := line(event)
		// A line that wraps would put all below it in the wrong place.
		b.WriteString(text[:min(len(text), p.width-1)])
		b.WriteString("\x1b[K\n")
	}
	io.WriteString(p.w, b.String())
	p.drawn, p.last = len(p.lines), time.Now()
}

// line formats one event as Docker does.
func line(p Progress) string {
	text := p.Status
	if p.ID != "" {
		text = p.ID + ": " + text
	}
	if p.Total > 0 {
		const columns = 30
		full := int(min(p.Current*columns/p.Total, columns))
		text += fmt.Sprintf(" [%s>%s] %s/%s", strings.Repeat("=", full), strings.Repeat(" ", columns-full), FormatSize(p.Current), FormatSize(p.Total))
	}
	return text
}

// FormatSize writes a number of bytes as Docker does: 4.85MB, by powers of 1000
// and with four digits.
func FormatSize(n int64) string {
	size, units := float64(n), []string{"B", "kB", "MB", "GB", "TB", "PB"}
	for size >= 1000 && len(units) > 1 {
		size, units = size/1000, units[1:]
	}
	return fmt.Sprintf("%.4g%s", size, units[0])
}
