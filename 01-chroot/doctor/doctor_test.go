package doctor

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
)

func check(name string, r Result) Check {
	return Check{Chapter: 3, Name: name, For: "limits", Run: func(context.Context) Result { return r }}
}

func TestExamineSaysWhatIsMissingWhyAndTheCure(t *testing.T) {
	for _, c := range []struct {
		name    string
		checks  []Check
		missing int
		want    string
	}{
		{"well", []Check{check("kernel", Fine("Linux %d", 6))}, 0, `ok  chapter 3  kernel  Linux 6

All is well.
`},
		{"all four", []Check{
			check("kernel", Fine("Linux 6")),
			check("memory", Result{Status: Missing, Found: "disabled", Breaks: "--memory", Why: "a boot parameter", Cure: []string{"one", "two"}}),
			check("pressure", Result{Status: Limited, Found: "off"}),
			check("overlay", NeedsRoot()),
		}, 1, `ok       chapter 3  kernel    Linux 6
MISSING  chapter 3  memory    disabled
limited  chapter 3  pressure  off
unknown  chapter 3  overlay   not root: it cannot be tried

memory: disabled
  needed for     limits
  will not work  --memory
  because        a boot parameter
  cure           one
                 two

pressure: off
  will not work  limits

1 thing is missing here without which no container works; the cures stand above.
1 thing could not be asked: run this as root, with sudo.
`},
		{"limited", []Check{check("a", Result{Status: Limited, Found: "x"}), check("b", Result{Status: Limited, Found: "y"})}, 0, `limited  chapter 3  a  x
limited  chapter 3  b  y

a: x
  will not work  limits

b: y
  will not work  limits

2 things are limited here, as said above; a container needs none of that.
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b strings.Builder
			missing, err := Examine(t.Context(), &b, c.checks)
			if err != nil || missing != c.missing {
				t.Errorf("missing %d, error %v: want %d and none", missing, err, c.missing)
			}
			if b.String() != c.want {
				t.Errorf("got\n%s\nwant\n%s", b.String(), c.want)
			}
		})
	}
}

func TestExamineStopsWhenItIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	asked := 0
	c := Check{Run: func(context.Context) Result { asked++; cancel(); return Fine("") }}
	if _, err := Examine(ctx, io.Discard, []Check{c, c}); !errors.Is(err, context.Canceled) || asked != 1 {
		t.Errorf("%d checks ran, then %v", asked, err)
	}
}

func TestAnotherSystemIsToldWhatItLacks(t *testing.T) {
	for goos, want := range map[string]string{"darwin": "this is macOS", "windows": "this is Windows", "freebsd": "this is freebsd"} {
		r := noLinux(goos)
		if r.Status != Missing || r.Found != want || !strings.Contains(strings.Join(r.Cure, "\n"), "vagrant up") {
			t.Errorf("%s: %+v", goos, r)
		}
	}
}
