package lesson

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestBlocksAreFound(t *testing.T) {
	blocks := parse("text\n\n```go a.go\nx\n```\n<!-- requires: cgroup2 strace -->\n\n```console\n$ a\n~~~\n```\n<!-- requires: x -->\ntext\n~~~~\nraw\n~~~~\n")
	if len(blocks) != 3 {
		t.Fatalf("%d blocks: %v", len(blocks), blocks)
	}
	if b := blocks[0]; b.line != 4 || b.language != "go" || b.file != "a.go" || len(b.lines) != 1 {
		t.Errorf("got %+v", b)
	}
	if b := blocks[1]; b.line != 9 || b.language != "console" || strings.Join(b.requires, ",") != "cgroup2,strace" || len(b.lines) != 2 {
		t.Errorf("got %+v", b)
	}
	if b := blocks[2]; b.requires != nil || b.language != "" {
		t.Errorf("got %+v: a comment belongs to the block just below it", b)
	}
}

func TestQuotes(t *testing.T) {
	source := strings.Split("func f() {\n\tif a {\n\t\treturn\n\t}\n\tg()\n}", "\n")
	for quote, want := range map[string]string{
		"if a {\n\treturn\n}":              "",
		"func f() {\n\t// …\n\tg()\n}":     "",
		"\n…\ng()\n\n":                     "",
		"if b {":                           "these lines do not stand in the file:\n\tif b {",
		"func f() {\n\tg()":                "these lines do not stand in the file:\n\tfunc f() {\n\t\tg()",
		"g()\n…\nif a {":                   "these lines stand before what is quoted above them:\n\tif a {",
		"return\n}\ng()\n}\nand much more": "these lines do not stand in the file:\n\treturn\n\t}\n\tg()\n\t}\n\tand much more",
	} {
		if got := quoted(strings.Split(quote, "\n"), source); got != want {
			t.Errorf("%q: got %q, want %q", quote, got, want)
		}
	}
}

func TestLinks(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "there.md"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	text := "[a](there.md) [b](there.md#x) [c](https://example.com/gone) [d](#x) ![e](<there.md>)\n```\n[f](gone.md)\n```\n[g](gone.md#y)\n"
	got := brokenLinks(dir, text)
	if len(got) != 1 || got[0] != "5: the link to gone.md#y leads nowhere" {
		t.Errorf("got %q", got)
	}
}

func TestTestsThatTheTextNames(t *testing.T) {
	there, err := testsBelow(".")
	if err != nil {
		t.Fatal(err)
	}
	text := "held by `TestLinks` and `TestSample/console`\n| `TestGone`, `BenchmarkGone` | `Testing` TestNothing |\n"
	want := []string{"2: TestGone is no test of this chapter", "2: BenchmarkGone is no test of this chapter"}
	if got := unknownTests(text, there); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
