package course_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const atlas = "docs/error-atlas.md"

var (
	atlasEntry = regexp.MustCompile(`(?m)^### (.+)$`)
	shownBy    = regexp.MustCompile("(?m)^Shown by \\[`(Test\\w+)`\\]\\(([^)]+)\\)")
	errno      = regexp.MustCompile(`\bE[A-Z0-9]{3,}\b`)
	link       = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	// What a code host drops from a heading to make its anchor.
	dropped = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// testBodies returns the source of each test function of a Go file.
func testBodies(t *testing.T, path string) map[string]string {
	source, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
		return nil
	}
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, source, 0)
	if err != nil {
		t.Error(err)
		return nil
	}
	bodies := map[string]string{}
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && strings.HasPrefix(f.Name.Name, "Test") {
			bodies[f.Name.Name] = string(source[files.Position(f.Pos()).Offset:files.Position(f.End()).Offset])
		}
	}
	return bodies
}

// TestEveryEntryOfTheAtlasIsShown wants a cure and a test in every entry of the
// error atlas, the entry's errno in that test, and an entry for every such test.
func TestEveryEntryOfTheAtlasIsShown(t *testing.T) {
	text, err := os.ReadFile(atlas)
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	at := atlasEntry.FindAllSubmatchIndex(text, -1)
	for i, m := range at {
		heading, end := string(text[m[2]:m[3]]), len(text)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		entry := string(text[m[1]:end])
		if !strings.Contains(entry, "\n**Cure.** ") {
			t.Errorf("%s: %q has no cure", atlas, heading)
		}
		s := shownBy.FindStringSubmatch(entry)
		if s == nil {
			t.Errorf("%s: %q is shown by no test", atlas, heading)
			continue
		}
		test, path := s[1], filepath.Join("docs", s[2])
		body, ok := testBodies(t, path)[test]
		if !ok {
			t.Errorf("%s: %q is shown by %s, which is not in %s", atlas, heading, test, path)
		}
		for _, e := range errno.FindAllString(heading, -1) {
			if !strings.Contains(body, e) {
				t.Errorf("%s: %q: %s does not speak of %s", atlas, heading, test, e)
			}
		}
		shown[test] = true
	}
	tests, err := filepath.Glob("0*-*/atlas_test.go")
	if err != nil || len(tests) == 0 {
		t.Fatalf("no atlas_test.go in any chapter (%v)", err)
	}
	for _, path := range tests {
		for test := range testBodies(t, path) {
			if !shown[test] {
				t.Errorf("%s: %s is in no entry of %s", path, test, atlas)
			}
		}
	}
}

// anchors returns the anchors that a code host makes of a page's headings.
func anchors(text string) map[string]bool {
	all := map[string]bool{}
	for line := range strings.Lines(text) {
		if heading := strings.TrimLeft(line, "#"); heading != line && strings.HasPrefix(heading, " ") {
			heading = dropped.ReplaceAllString(strings.ToLower(strings.TrimSpace(heading)), "")
			all[strings.ReplaceAll(heading, " ", "-")] = true
		}
	}
	return all
}

// TestLinksOfTheDocs wants a file behind every link of the pages in docs/, and
// a heading behind every anchor.
func TestLinksOfTheDocs(t *testing.T) {
	pages, err := filepath.Glob("docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("no pages in docs (%v)", err)
	}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			path, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(path, "://") {
				continue
			}
			target := page
			if path != "" {
				target = filepath.Join("docs", path)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: the link to %s leads nowhere", page, m[1])
				continue
			}
			if anchor == "" {
				continue
			}
			if b, err := os.ReadFile(target); err != nil || !anchors(string(b))[anchor] {
				t.Errorf("%s: the link to %s leads to no heading", page, m[1])
			}
		}
	}
}
