package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
)

//go:embed page.html
var pageSource string

var page = template.Must(template.New("page").Parse(pageSource))

// site copies the repository into dir, and beside each text of it a page for
// the browser: README.md and README.html.
func site(ctx context.Context, root, dir string) error {
	tmp := dir + ".tmp"
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	files, err := tracked(ctx, root)
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := copyFile(filepath.Join(tmp, filepath.FromSlash(file)), filepath.Join(root, filepath.FromSlash(file))); err != nil {
			return err
		}
		if strings.HasSuffix(file, ".md") {
			if err := render(tmp, file); err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
		}
	}
	if err := mermaid(ctx, filepath.Join(filepath.Dir(dir), "mermaid.min.js"), filepath.Join(tmp, "docs", "mermaid.min.js")); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.Rename(tmp, dir)
}

// tracked returns the files of the repository, with slashes: those that git
// knows of, or where there is no git, all but what is made here.
func tracked(ctx context.Context, root string) ([]string, error) {
	if _, err := os.Stat(filepath.Join(root, ".git")); err == nil {
		out, err := run(ctx, root, nil, "git", "ls-files", "-z")
		return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"), err
	}
	var files []string
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name == ".vagrant" || name == "bin" || name == "classroom":
			return fs.SkipDir
		case d.Type().IsRegular():
			files = append(files, name)
		}
		return nil
	})
	return files, err
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, info.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

var markdown = goldmark.New(goldmark.WithExtensions(extension.GFM), goldmark.WithParserOptions(parser.WithAutoHeadingID()))

// render writes the page of one text. A link to a text leads to its page, and
// one to a directory to the page of its README.
func render(root, file string) error {
	source, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(file)))
	if err != nil {
		return err
	}
	tree := markdown.Parser().Parse(text.NewReader(source))
	title := file
	err = ast.Walk(tree, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Heading:
			if n.Level == 1 && title == file {
				title = string(n.Lines().Value(source))
			}
		case *ast.Link:
			n.Destination = []byte(toPage(string(n.Destination)))
		}
		return ast.WalkContinue, nil
	})
	if err != nil {
		return err
	}
	var body bytes.Buffer
	if err := markdown.Renderer().Render(&body, source, tree); err != nil {
		return err
	}
	up := strings.Repeat("../", strings.Count(file, "/"))
	var out bytes.Buffer
	err = page.Execute(&out, map[string]any{"Title": title, "Root": template.URL(up), "Body": template.HTML(body.String())})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(root, filepath.FromSlash(strings.TrimSuffix(file, ".md")+".html")), out.Bytes(), 0o644)
}

// toPage turns the destination of a link within the repository.
func toPage(link string) string {
	to, anchor, _ := strings.Cut(link, "#")
	if to == "" || strings.Contains(to, "://") || strings.HasPrefix(to, "mailto:") {
		return link
	}
	if base, ok := strings.CutSuffix(to, ".md"); ok {
		to = base + ".html"
	} else if strings.Contains(to, "exercises/") && path.Ext(to) == "" {
		to = path.Join(to, "README.html")
	}
	if anchor != "" {
		to += "#" + anchor
	}
	return to
}
