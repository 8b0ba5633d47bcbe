// Package doctor looks at a host and says what will not work on it, why, and
// what cures that.
//
// A [Check] is one question. Each chapter has a list of those that it depends
// on, in a file doctor.go of its own, and asks the kernel by trying: it
// mounts, makes a bridge or starts a process in throw-away namespaces, which
// end with the thread that is in them ([Apart]). Nothing of the host is
// changed. [Host] is chapter 1's list.
//
// Where trying takes a permission that the caller lacks, the answer is
// [Unknown] and not a guess.
package doctor

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"drydock.example/01-chroot/explain"
)

// chapter is the first, for --explain and for [Host].
const chapter explain.Chapter = 1

// Check is one question to a host.
type Check struct {
	Chapter explain.Chapter // which one needs it first
	Name    string          // one or two words
	For     string          // what it is needed for
	Run     func(context.Context) Result
}

// Status is the short form of an answer.
type Status int

const (
	OK      Status = iota // it works
	Limited               // something does not work; a container does
	Missing               // no container works without
	Unknown               // it could not be asked
)

func (s Status) String() string {
	return [...]string{"ok", "limited", "MISSING", "unknown"}[s]
}

// Result is the answer to a [Check]. All but Status and Found are empty where
// all is well.
type Result struct {
	Status Status
	Found  string   // what the host has: "Linux 6.12.3", "user.max_user_namespaces is 0"
	Breaks string   // what will not work
	Why    string   // the reason, in the kernel's or the field's words
	Cure   []string // commands to type, or sentences where there are none
}

// Fine is the answer where all is well.
func Fine(format string, args ...any) Result { return Result{Found: fmt.Sprintf(format, args...)} }

// NeedsRoot is the answer of a check that must try what only root may.
func NeedsRoot() Result {
	return Result{Status: Unknown, Found: "not root: it cannot be tried", Cure: []string{"run this as root, with sudo"}}
}

// Examine runs the checks one after the other and writes, to w, a line for each
// and a paragraph for each that is not well. It returns the number of checks
// that say [Missing].
func Examine(ctx context.Context, w io.Writer, checks []Check) (missing int, err error) {
	out := bufio.NewWriter(w)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	results := make([]Result, len(checks))
	var limited, unknown int
	for i, c := range checks {
		if err := ctx.Err(); err != nil {
			return missing, err
		}
		r := c.Run(ctx)
		results[i] = r
		fmt.Fprintf(table, "%s\tchapter %d\t%s\t%s\n", r.Status, c.Chapter, c.Name, r.Found)
		switch r.Status {
		case Missing:
			missing++
		case Limited:
			limited++
		case Unknown:
			unknown++
		}
	}
	if err := table.Flush(); err != nil {
		return missing, err
	}
	for i, c := range checks {
		if r := results[i]; r.Status == Missing || r.Status == Limited {
			describe(out, c, r)
		}
	}
	fmt.Fprintln(out)
	switch {
	case missing > 0:
		fmt.Fprintf(out, "%s missing here without which no container works; the cures stand above.\n", count(missing, "thing is", "things are"))
	case limited > 0 && unknown > 0:
		fmt.Fprintf(out, "%s limited here, as said above.\n", count(limited, "thing is", "things are"))
	case limited > 0:
		fmt.Fprintf(out, "%s limited here, as said above; a container needs none of that.\n", count(limited, "thing is", "things are"))
	case unknown == 0:
		fmt.Fprintln(out, "All is well.")
	}
	if unknown > 0 {
		fmt.Fprintf(out, "%s not be asked: run this as root, with sudo.\n", count(unknown, "thing could", "things could"))
	}
	return missing, out.Flush()
}

// describe writes the paragraph of a check that is not well.
func describe(w io.Writer, c Check, r Result) {
	fmt.Fprintf(w, "\n%s: %s\n", c.Name, r.Found)
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(w, "  %-15s%s\n", name, text)
		}
	}
	if r.Breaks != "" {
		line("needed for", c.For)
	}
	line("will not work", cmp.Or(r.Breaks, c.For))
	line("because", r.Why)
	line("cure", strings.Join(r.Cure, "\n"+strings.Repeat(" ", 17)))
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
