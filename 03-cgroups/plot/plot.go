package plot

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"strings"
	"time"
)

// Picture is what happened in the time from 0 to Span.
type Picture struct {
	Title  string
	Span   time.Duration
	Panels []Panel
}

// Panel shows one quantity.
type Panel struct {
	Name   string
	Format func(float64) string // of a value on the axis
	Limit  float64              // drawn as a dashed line; 0 is none
	Top    float64              // the axis goes at least as far
	Lines  []Line
	Marks  []Mark
}

// Line is one course of the quantity.
type Line struct {
	Name   string
	Points []Point
}

// Point is a measurement.
type Point struct {
	At    time.Duration
	Value float64
}

// Mark is something that happened at a moment.
type Mark struct {
	At   time.Duration
	Text string
}

// Sizes in the units of the picture.
const (
	width, left, right = 720, 88, 16
	top, height, gap   = 44, 150, 46
)

// colors of the lines of a panel, in their order; they differ in brightness too.
var colors = []string{"#0b6fb8", "#d9480f", "#2b8a3e", "#862e9c"}

// SVG writes the picture.
func SVG(w io.Writer, p Picture) error {
	var b bytes.Buffer
	total := top + len(p.Panels)*(height+gap)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", width, total)
	fmt.Fprintf(&b, "<title>%s</title>\n", escape(p.Title))
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", width, total)
	fmt.Fprintf(&b, `<text x="%d" y="22" font-size="14" font-weight="bold">%s</text>`+"\n", left, escape(p.Title))
	for i, panel := range p.Panels {
		panel.draw(&b, p.Span, float64(top+i*(height+gap)))
	}
	b.WriteString("</svg>\n")
	_, err := w.Write(b.Bytes())
	return err
}

func (p Panel) draw(b *bytes.Buffer, span time.Duration, y0 float64) {
	largest := max(p.Limit, p.Top)
	for _, l := range p.Lines {
		for _, point := range l.Points {
			largest = max(largest, point.Value)
		}
	}
	if largest <= 0 {
		largest = 1
	}
	largest *= 1.1 // room above the limit
	span = max(span, time.Millisecond)
	x := func(at time.Duration) float64 {
		return left + (width-left-right)*min(1, float64(at)/float64(span))
	}
	y := func(v float64) float64 { return y0 + height*(1-v/largest) }
	text := func(x, y float64, attributes, s string) {
		fmt.Fprintf(b, `<text x="%s" y="%s" %s>%s</text>`+"\n", number(x), number(y), attributes, escape(s))
	}

	fmt.Fprintf(b, `<g class="panel">`+"\n")
	text(left, y0-6, `fill="#495057"`, p.Name)
	fmt.Fprintf(b, `<path class="axes" d="M%d,%s V%s H%d" fill="none" stroke="#495057"/>`+"\n", left, number(y0), number(y0+height), width-right)
	for _, v := range []float64{0, largest / 2.2} {
		text(left-6, y(v)+4, `text-anchor="end" fill="#495057"`, p.Format(v))
	}
	for i := range 5 {
		at := span * time.Duration(i) / 4
		text(x(at), y0+height+16, `text-anchor="middle" fill="#495057"`, at.Round(10*time.Millisecond).String())
	}
	if p.Limit > 0 {
		fmt.Fprintf(b, `<path class="limit" d="M%d,%s H%d" stroke="#c92a2a" stroke-dasharray="6 4"/>`+"\n", left, number(y(p.Limit)), width-right)
		text(left-6, y(p.Limit)+4, `text-anchor="end" fill="#c92a2a"`, p.Format(p.Limit))
	}
	for i, l := range p.Lines {
		color := colors[i%len(colors)]
		points := make([]string, len(l.Points))
		for j, point := range l.Points {
			points[j] = number(x(point.At)) + "," + number(y(point.Value))
		}
		fmt.Fprintf(b, `<polyline class="line" points="%s" fill="none" stroke="%s" stroke-width="1.5"/>`+"\n", strings.Join(points, " "), color)
		text(width-right, y0-6-14*float64(len(p.Lines)-1-i), fmt.Sprintf(`text-anchor="end" fill="%s"`, color), l.Name)
	}
	for _, m := range p.Marks {
		fmt.Fprintf(b, `<path class="mark" d="M%s,%s V%s" stroke="#212529"/>`+"\n", number(x(m.At)), number(y0), number(y0+height))
		text(x(m.At)-4, y0+12, `text-anchor="end" fill="#212529"`, m.Text)
	}
	b.WriteString("</g>\n")
}

// number prints a coordinate with a tenth of a unit.
func number(f float64) string {
	return strings.TrimSuffix(fmt.Sprintf("%.1f", math.Round(f*10)/10), ".0")
}

func escape(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s)) // a bytes.Buffer takes everything
	return b.String()
}
