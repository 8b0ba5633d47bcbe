package lesson

import (
	"slices"
	"strings"
	"testing"
)

func TestSteps(t *testing.T) {
	got, err := steps(block{line: 10, lines: []string{"$ cat <<END", "> a", ">", "> END", "a", "", "> b", `$ one \`, "  two", "$ three"}})
	if err != nil {
		t.Fatal(err)
	}
	want := []step{
		{10, "cat <<END\na\n\nEND", []string{"a", "", "> b"}},
		{17, "one \\\n  two", nil},
		{19, "three", nil},
	}
	if !slices.EqualFunc(got, want, func(a, b step) bool {
		return a.line == b.line && a.command == b.command && slices.Equal(a.output, b.output)
	}) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if _, err := steps(block{line: 3, lines: []string{"output"}}); err == nil || !strings.HasPrefix(err.Error(), "line 3: ") {
		t.Errorf("a session without a command: %v", err)
	}
}

func TestMatches(t *testing.T) {
	for _, test := range []struct {
		want, got string
		matches   bool
	}{
		{"", "", true},
		{"", "a", false},
		{"a", "", false},
		{"a\nb", "a\nb", true},
		{"a\nb", "b\na", false},
		{"a\n…\nd", "a\nb\nc\nd", true},
		{"a\n…\nd", "a\nd", true},
		{"a\n…\nd", "a\nb\nc", false},
		{"…", "", true},
		{"…", "a\nb", true},
		{"pid …, done", "pid 17, done", true},
		{"pid …, done", "pid 17, failed", false},
		{"a.c", "abc", false},
		{"…\nb", "b\nb", true},
	} {
		if got := matches(lines(test.want), lines(test.got)); got != test.matches {
			t.Errorf("%q against %q: %v, want %v", test.want, test.got, got, test.matches)
		}
	}
}

func TestLinesAreComparedWithoutTrailingBlanks(t *testing.T) {
	if got := lines("a \r\nb\t\n\n\n"); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("got %q", got)
	}
}

func TestTheDifferenceIsMarked(t *testing.T) {
	got := difference([]string{"same", "pid …", "three"}, []string{"same", "pid 4", "four"})
	want := "the README says\n    same\n    pid …\n  ! three\nthe machine says\n    same\n    pid 4\n  ! four\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestSudoIsNotForRoot(t *testing.T) {
	for command, want := range map[string]string{
		"sudo ls":                   "ls",
		"true && sudo ls; sudo pwd": "true && ls; pwd",
		"echo pseudo ls":            "echo pseudo ls",
		"x=$(sudo id)":              "x=$(id)",
	} {
		if got := withoutSudo(command); got != want {
			t.Errorf("%q: got %q, want %q", command, got, want)
		}
	}
}
