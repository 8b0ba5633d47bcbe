package plot

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// elements parses an SVG picture and counts its elements by name and class.
func elements(t *testing.T, svg []byte) map[string]int {
	t.Helper()
	count := map[string]int{}
	for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return count
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
		if e, ok := token.(xml.StartElement); ok {
			name := e.Name.Local
			for _, a := range e.Attr {
				if a.Name.Local == "class" {
					name = a.Value
				}
			}
			count[name]++
		}
	}
}

func picture() Picture {
	return Picture{Title: "tail <-f> & co", Span: time.Second, Panels: []Panel{
		{Name: "memory", Format: func(v float64) string { return fmt.Sprint(v) }, Limit: 10,
			Lines: []Line{{"used", []Point{{0, 0}, {time.Second / 2, 5}, {time.Second, 10}}}},
			Marks: []Mark{{time.Second, "killed"}}},
		{Name: "cpu", Format: func(v float64) string { return fmt.Sprint(v) },
			Lines: []Line{{"a", nil}, {"b", []Point{{0, 1}}}}},
	}}
}

func TestAPictureHasItsParts(t *testing.T) {
	var svg bytes.Buffer
	if err := SVG(&svg, picture()); err != nil {
		t.Fatal(err)
	}
	got := elements(t, svg.Bytes())
	for name, want := range map[string]int{"svg": 1, "title": 1, "panel": 2, "axes": 2, "limit": 1, "line": 3, "mark": 1} {
		if got[name] != want {
			t.Errorf("%s: %d, want %d\n%s", name, got[name], want, &svg)
		}
	}
	// The limit stands at 1/1.1 of a panel of 150, and so does the last point.
	for _, want := range []string{"tail &lt;-f&gt; &amp; co", `points="88,194 396,125.8 704,57.6"`, `d="M88,57.6 H704"`} {
		if !strings.Contains(svg.String(), want) {
			t.Errorf("no %s in\n%s", want, &svg)
		}
	}
}

func TestTheSameMeasurementsGiveTheSameBytes(t *testing.T) {
	var a, b bytes.Buffer
	if err := errors.Join(SVG(&a, picture()), SVG(&b, picture())); err != nil || !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Errorf("%v\n%s\n%s", err, &a, &b)
	}
}

func TestAPictureOfNothing(t *testing.T) {
	var svg bytes.Buffer
	if err := SVG(&svg, Picture{Panels: []Panel{{Format: func(float64) string { return "" }}}}); err != nil || strings.Contains(svg.String(), "NaN") {
		t.Errorf("%v\n%s", err, &svg)
	}
}
