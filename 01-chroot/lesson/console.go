package lesson

import (
	"fmt"
	"regexp"
	"strings"
)

// step is one command of a session and what it prints.
type step struct {
	line    int
	command string
	output  []string
}

// steps reads a session. Lines before the first command are an error.
func steps(b block) ([]step, error) {
	var all []step
	continued := false
	for i, line := range b.lines {
		n := len(all) - 1
		switch {
		case n >= 0 && len(all[n].output) == 0 && strings.HasPrefix(line, "> "):
			all[n].command += "\n" + line[2:]
		case n >= 0 && len(all[n].output) == 0 && line == ">":
			all[n].command += "\n"
		case continued:
			all[n].command += "\n" + line
		case strings.HasPrefix(line, "$ "):
			all = append(all, step{line: b.line + i, command: line[2:]})
		case n < 0:
			return nil, fmt.Errorf("line %d: a session starts with a command, after \"$ \"", b.line+i)
		default:
			all[n].output = append(all[n].output, line)
			continue
		}
		continued = strings.HasSuffix(line, `\`)
	}
	return all, nil
}

var sudo = regexp.MustCompile(`(^|[\s;|&(])sudo `)

// withoutSudo is the command as root types it.
func withoutSudo(command string) string {
	return sudo.ReplaceAllString(command, "$1")
}

// lines splits what a command printed as a reader sees it: without trailing
// blanks and without empty lines at the end.
func lines(output string) []string {
	all := strings.Split(strings.ReplaceAll(output, "\r\n", "\n"), "\n")
	for i := range all {
		all[i] = strings.TrimRight(all[i], " \t\r")
	}
	for len(all) > 0 && all[len(all)-1] == "" {
		all = all[:len(all)-1]
	}
	return all
}

// matches says whether the lines printed are those in the README.
func matches(want, got []string) bool {
	if len(want) == 0 {
		return len(got) == 0
	}
	if strings.TrimSpace(want[0]) == ellipsis {
		for n := 0; n <= len(got); n++ {
			if matches(want[1:], got[n:]) {
				return true
			}
		}
		return false
	}
	return len(got) > 0 && matchesLine(want[0], got[0]) && matches(want[1:], got[1:])
}

func matchesLine(want, got string) bool {
	if !strings.Contains(want, ellipsis) {
		return want == got
	}
	parts := strings.Split(want, ellipsis)
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile("^" + strings.Join(parts, ".*") + "$").MatchString(got)
}

// difference shows both texts, and marks the first lines that do not agree. It
// looks no further than the first "…" line, behind which lines have no partner.
func difference(want, got []string) string {
	mark := func(all []string, other func(i int, line string) bool) string {
		var b strings.Builder
		marked := false
		for i, line := range all {
			sign := "    "
			if !marked && !other(i, line) {
				sign, marked = "  ! ", true
			}
			b.WriteString(sign + line + "\n")
		}
		if len(all) == 0 {
			b.WriteString("  ! (nothing)\n")
		}
		return b.String()
	}
	cut := len(want)
	for i, line := range want {
		if strings.TrimSpace(line) == ellipsis {
			cut = i
			break
		}
	}
	return "the README says\n" +
		mark(want, func(i int, line string) bool { return i >= cut || i < len(got) && matchesLine(line, got[i]) }) +
		"the machine says\n" +
		mark(got, func(i int, line string) bool {
			return i >= cut && cut < len(want) || i < len(want) && matchesLine(want[i], line)
		})
}
