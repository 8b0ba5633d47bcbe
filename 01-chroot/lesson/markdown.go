package lesson

import (
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// block is a fenced code block.
type block struct {
	// line is the number of its first line of text, from 1.
	line int
	// language and file are the first two words of the info string.
	language, file string
	// requires are the words of the comment before the block.
	requires []string
	lines    []string
}

var requiresComment = regexp.MustCompile(`^<!--\s*requires:\s*(.*?)\s*-->$`)

// parse returns the fenced code blocks of a Markdown text (CommonMark 4.5).
func parse(text string) []block {
	var (
		blocks   []block
		open     *block
		fence    string
		requires []string
	)
	for i, line := range strings.Split(text, "\n") {
		trimmed := strings.TrimSpace(line)
		switch {
		case open != nil && strings.HasPrefix(trimmed, fence) && strings.Trim(trimmed, fence[:1]) == "":
			blocks = append(blocks, *open)
			open = nil
		case open != nil:
			open.lines = append(open.lines, strings.TrimRight(line, " \t\r"))
		case strings.HasPrefix(trimmed, "```") || strings.HasPrefix(trimmed, "~~~"):
			info := strings.TrimLeft(trimmed, trimmed[:1])
			fence = trimmed[:len(trimmed)-len(info)]
			open = &block{line: i + 2, requires: requires}
			words := strings.Fields(info)
			if len(words) > 0 {
				open.language = words[0]
			}
			if len(words) > 1 {
				open.file = words[1]
			}
			requires = nil
		case requiresComment.MatchString(trimmed):
			requires = strings.Fields(requiresComment.FindStringSubmatch(trimmed)[1])
		case trimmed != "":
			requires = nil
		}
	}
	return blocks
}

// link matches the target of an inline link or image (CommonMark 6.3).
var link = regexp.MustCompile(`\]\(<?([^)\s>]+)>?[^)]*\)`)

// brokenLinks lists the links of text that lead to no file, each with its line.
func brokenLinks(dir, text string) []string {
	var broken []string
	fenced := false
	for i, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
		}
		if fenced {
			continue
		}
		for _, m := range link.FindAllStringSubmatch(line, -1) {
			u, err := url.Parse(m[1])
			if err != nil {
				broken = append(broken, fmt.Sprintf("%d: %v", i+1, err))
				continue
			}
			if u.Scheme != "" || u.Host != "" || u.Path == "" {
				continue
			}
			if _, err := os.Stat(filepath.Join(dir, u.Path)); err != nil {
				broken = append(broken, fmt.Sprintf("%d: the link to %s leads nowhere", i+1, m[1]))
			}
		}
	}
	return broken
}

var (
	namedTest = regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z]\\w*)")
	testFunc  = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)[A-Z]\w*)\(`)
)

// testsBelow returns the names of the tests in the directory dir and below.
func testsBelow(dir string) (map[string]bool, error) {
	tests := map[string]bool{}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, m := range testFunc.FindAllSubmatch(source, -1) {
			tests[string(m[1])] = true
		}
		return err
	})
	return tests, err
}

// unknownTests lists the tests that text names and that are not there, each
// with its line.
func unknownTests(text string, there map[string]bool) []string {
	var unknown []string
	for i, line := range strings.Split(text, "\n") {
		for _, m := range namedTest.FindAllStringSubmatch(line, -1) {
			if !there[m[1]] {
				unknown = append(unknown, fmt.Sprintf("%d: %s is no test of this chapter", i+1, m[1]))
			}
		}
	}
	return unknown
}

// quoted returns "" when quote is taken from source, or what is not.
func quoted(quote, source []string) string {
	at := 0
	for _, run := range runs(quote) {
		next := find(run, source, at)
		if next < 0 {
			if find(run, source, 0) >= 0 {
				return fmt.Sprintf("these lines stand before what is quoted above them:\n\t%s", strings.Join(run, "\n\t"))
			}
			return fmt.Sprintf("these lines do not stand in the file:\n\t%s", strings.Join(run, "\n\t"))
		}
		at = next
	}
	return ""
}

// runs splits a quote at its ellipses, and drops blank lines around them.
func runs(quote []string) [][]string {
	var all [][]string
	var run []string
	flush := func() {
		for len(run) > 0 && strings.TrimSpace(run[0]) == "" {
			run = run[1:]
		}
		for len(run) > 0 && strings.TrimSpace(run[len(run)-1]) == "" {
			run = run[:len(run)-1]
		}
		if len(run) > 0 {
			all = append(all, run)
		}
		run = nil
	}
	for _, line := range quote {
		if text := strings.TrimSpace(line); strings.TrimSpace(strings.TrimPrefix(text, "//")) == ellipsis {
			flush()
			continue
		}
		run = append(run, line)
	}
	flush()
	return all
}

// find returns the index in source just after run, looking from the index
// from on, or -1.
func find(run, source []string, from int) int {
next:
	for i := from; i+len(run) <= len(source); i++ {
		for j, line := range run {
			if strings.TrimSpace(line) != strings.TrimSpace(source[i+j]) {
				continue next
			}
		}
		return i + len(run)
	}
	return -1
}
