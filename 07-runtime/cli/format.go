package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"text/template"
	"unicode/utf8"
)

// templateFuncs are those of docker's --format that scripts use.
var templateFuncs = template.FuncMap{
	"json": func(v any) (string, error) {
		b, err := json.Marshal(v)
		return string(b), err
	},
	"join":    strings.Join,
	"lower":   strings.ToLower,
	"upper":   strings.ToUpper,
	"split":   strings.Split,
	"println": func(v ...any) string { return fmt.Sprintln(v...) },
}

// printEach prints one line for each item: as JSON, or by a Go template.
func (c *cli) printEach(format string, items []any) error {
	print, err := formatter(format)
	if err != nil {
		return err
	}
	for _, item := range items {
		if err := print(c.out, item); err != nil {
			return err
		}
	}
	return nil
}

// formatter returns what prints an item by a --format flag's value.
func formatter(format string) (func(w io.Writer, item any) error, error) {
	if format == "json" {
		format = "{{json .}}"
	}
	// A shell's quotes keep \t and \n as they are typed.
	t, err := template.New("").Funcs(templateFuncs).Parse(strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(format))
	if err != nil {
		return nil, &exitError{status: 64, text: "template parsing error: " + strings.TrimPrefix(err.Error(), "template: ")}
	}
	return func(w io.Writer, item any) error {
		var line strings.Builder
		if err := t.Execute(&line, item); err != nil {
			return fmt.Errorf("template: %w", err)
		}
		_, err := fmt.Fprintln(w, line.String())
		return err
	}, nil
}

// table prints a header and rows in columns, as docker lays them out.
func (c *cli) table(header string, rows []string) error {
	w := tabwriter.NewWriter(c.out, 10, 1, 3, ' ', 0)
	fmt.Fprintln(w, header)
	for _, row := range rows {
		fmt.Fprintln(w, row)
	}
	return w.Flush()
}

// shortID returns the first 12 digits of a digest or a container's ID.
func shortID(id string) string {
	_, hex, ok := strings.Cut(id, ":")
	if !ok {
		hex = id
	}
	return hex[:min(12, len(hex))]
}

// ellipsis cuts s to at most n characters, the last of which says so.
func ellipsis(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}
