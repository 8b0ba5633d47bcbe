//go:build linux

// Package stracetest holds what a program's --explain says against what
// strace(1) sees the program do.
package stracetest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"drydock.example/01-chroot/hosttest"
)

// Check runs a program, whose arguments include --explain, below strace -f, and
// fails the test unless every call that it explains was made, in that order. It
// returns what the program printed. Where strace is not installed the test is
// skipped.
func Check(t *testing.T, argv ...string) string {
	t.Helper()
	hosttest.Require(t, hosttest.Root, hosttest.Program("strace"))
	trace := filepath.Join(t.TempDir(), "trace")
	// -y shows the path of each descriptor, -s takes whole strings.
	strace := append([]string{"-f", "-y", "-s", "65536", "-o", trace, "--"}, argv...)
	out, err := exec.Command("strace", strace...).CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatalf("strace: %v", err)
	}
	seen, err := os.Open(trace)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	defer seen.Close()
	explained := Explained(out)
	if len(explained) == 0 {
		t.Fatalf("%q explained nothing:\n%s", argv, out)
	}
	if err := Compare(explained, seen); err != nil {
		t.Errorf("%q: %v\n%s", argv, err, out)
	}
	return string(out)
}

// line matches what explain.Text writes: number, chapter, call, reason.
var line = regexp.MustCompile(`(?m)^\s*\d+  ch\d  (.*\))  # .*$`)

var (
	interrupted = regexp.MustCompile(`^(\d+) .*( <unfinished \.\.\.>)$`)
	resumed     = regexp.MustCompile(`^(\d+) +<\.\.\. \w+ resumed>(.*)$`)
)

// Whole returns the output of strace -f with each call on one line, where it
// began: one during which another thread made a call stands there in two parts.
func Whole(strace string) string {
	lines := strings.Split(strace, "\n")
	begun := map[string]int{} // by thread
	for i, l := range lines {
		if m := interrupted.FindStringSubmatch(l); m != nil {
			begun[m[1]], lines[i] = i, strings.TrimSuffix(l, m[2])
		} else if m := resumed.FindStringSubmatch(l); m != nil {
			if at, ok := begun[m[1]]; ok {
				lines[at] += m[2]
				lines[i] = ""
			}
		}
	}
	return strings.Join(lines, "\n")
}

// Explained returns the calls in the output of a program that explains.
func Explained(output []byte) []string {
	var calls []string
	for _, m := range line.FindAllSubmatch(output, -1) {
		calls = append(calls, string(m[1]))
	}
	return calls
}

// Compare looks for the explained calls, in their order, in the output of
// strace -f -y. A call is found in a line with its name, with all its strings
// (as argument or as path of a descriptor) and with all its constants.
func Compare(explained []string, strace io.Reader) error {
	lines := bufio.NewScanner(strace)
	lines.Buffer(nil, 16<<20)
	for i, text := range explained {
		want, err := parse(text)
		if err != nil {
			return err
		}
		found := false
		// Netlink messages may travel together: the line stays for the next one.
		if i > 0 && want.netlink != "" {
			found = want.in(lines.Bytes())
		}
		for !found && lines.Scan() {
			found = want.in(lines.Bytes())
		}
		if err := lines.Err(); err != nil {
			return fmt.Errorf("read the output of strace: %w", err)
		}
		if !found {
			after := "the start"
			if i > 0 {
				after = explained[i-1]
			}
			return fmt.Errorf("explained, but not seen by strace after %s:\n\t%s", after, text)
		}
	}
	return nil
}

// call is an explained call, taken apart.
type call struct {
	// names are what strace may call it.
	names []string
	// strings are its quoted arguments and the paths in <>.
	strings []string
	// constants are names such as MS_PRIVATE.
	constants []string
	// netlink is the protocol of a netlink message, NETLINK_ROUTE.
	netlink string
}

var (
	name       = regexp.MustCompile(`^([a-z][a-z0-9_]*)\(`)
	quoted     = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	descriptor = regexp.MustCompile(`<(/[^>]*)>`)
	constant   = regexp.MustCompile(`\b[A-Z][A-Z0-9]*_[A-Z0-9_]+\b`)
)

// sisters are calls that differ by architecture or library version alone.
var sisters = map[string][]string{
	"clone":  {"clone", "clone3"},
	"clone3": {"clone3", "clone"},
	"sendto": {"sendto", "sendmsg"},
	"dup2":   {"dup2", "dup3"},
	"mkdir":  {"mkdir", "mkdirat"},
	"rmdir":  {"rmdir", "unlinkat"},
}

func parse(text string) (call, error) {
	m := name.FindStringSubmatch(text)
	if m == nil {
		return call{}, fmt.Errorf("explained, but not as a call: %s", text)
	}
	c := call{names: []string{m[1]}}
	if s, ok := sisters[m[1]]; ok {
		c.names = s
	}
	for _, q := range quoted.FindAllString(text, -1) {
		s, err := strconv.Unquote(q)
		if err != nil {
			return call{}, fmt.Errorf("explained with a string that is none: %s", text)
		}
		// mount(2) ignores some arguments, and strace shows those as addresses.
		if s != "" {
			c.strings = append(c.strings, s)
		}
	}
	bare := quoted.ReplaceAllString(text, "")
	for _, d := range descriptor.FindAllStringSubmatch(bare, -1) {
		c.strings = append(c.strings, d[1])
	}
	for _, k := range constant.FindAllString(descriptor.ReplaceAllString(bare, ""), -1) {
		if strings.HasPrefix(k, "NETLINK_") {
			c.netlink = k
			continue
		}
		c.constants = append(c.constants, k)
	}
	// strace does not take nftables messages apart: their strings are bytes.
	if c.netlink == "NETLINK_NETFILTER" {
		c.strings = nil
	}
	return c, nil
}

// in says whether strace's line is this call. A line that another thread
// interrupted ends in "<unfinished ...>" and has what was passed in.
func (c call) in(line []byte) bool {
	_, rest, ok := bytes.Cut(line, []byte(" ")) // the process
	if !ok {
		return false
	}
	rest = bytes.TrimLeft(rest, " ")
	named := false
	for _, n := range c.names {
		named = named || bytes.HasPrefix(rest, []byte(n+"("))
	}
	if !named {
		return false
	}
	if c.netlink != "" && !bytes.Contains(rest, []byte("nlmsg_type=")) {
		return false
	}
	for _, s := range c.strings {
		if !bytes.Contains(rest, []byte(asStrace(s))) && !bytes.Contains(rest, []byte("<"+s+">")) {
			return false
		}
	}
	for _, k := range c.constants {
		if !bytes.Contains(rest, []byte(k)) {
			return false
		}
	}
	return true
}

// asStrace quotes a string as strace does: C escapes, others in octal.
func asStrace(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\t':
			b.WriteString(`\t`)
		case c == '\r':
			b.WriteString(`\r`)
		case c < ' ' || c > '~':
			// No more digits than it takes, unless a digit follows.
			if i+1 < len(s) && s[i+1] >= '0' && s[i+1] <= '9' {
				fmt.Fprintf(&b, `\%03o`, c)
			} else {
				fmt.Fprintf(&b, `\%o`, c)
			}
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
