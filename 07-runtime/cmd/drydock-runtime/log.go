//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"
)

// complaints go to standard error for the person, and with --log to a file for
// the program that called: containerd and Podman take the reason from there.
type complaints struct {
	path, format string
}

func (c *complaints) error(err error) {
	if c.path != "" {
		f, openErr := os.OpenFile(c.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
		if openErr == nil {
			defer f.Close()
			c.write(f, "error", err.Error())
			fmt.Fprintln(os.Stderr, err)
			return
		}
		fmt.Fprintln(os.Stderr, openErr)
	}
	c.write(os.Stderr, "error", err.Error())
}

func (c *complaints) warning(text string) {
	w := os.Stderr
	if c.path != "" {
		f, err := os.OpenFile(c.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
		if err != nil {
			return // the error that ends the command says so
		}
		defer f.Close()
		w = f
	}
	c.write(w, "warning", text)
}

// write writes one entry as logrus does, which is what callers parse.
func (c *complaints) write(w io.Writer, level, text string) {
	now := time.Now().Format(time.RFC3339)
	if c.format != "json" {
		fmt.Fprintf(w, "time=%q level=%s msg=%s\n", now, level, strconv.Quote(text))
		return
	}
	b, _ := json.Marshal(struct {
		Level string `json:"level"`
		Msg   string `json:"msg"`
		Time  string `json:"time"`
	}{level, text, now})
	w.Write(append(b, '\n'))
}

// debugHandler writes explained calls as entries of level debug.
type debugHandler struct {
	log  *complaints
	exec bool
}

// stage is what runc logs about the moment of a call, if anything. Whoever looks
// in a log for how far a start came looks for these words.
func (h debugHandler) stage(call string) string {
	switch name, _, _ := strings.Cut(call, "("); {
	case strings.HasPrefix(name, "clone"):
		return "nsexec container setup"
	case name == "setsid":
		return "child process in init()"
	case name == "execve" && h.exec:
		return "setns_init: about to exec"
	case name == "execve":
		return "init: closing the pipe to signal completion"
	}
	return ""
}

func (h debugHandler) Enabled(context.Context, slog.Level) bool { return true }
func (h debugHandler) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h debugHandler) WithGroup(string) slog.Handler            { return h }

func (h debugHandler) Handle(_ context.Context, r slog.Record) error {
	w := os.Stderr
	if h.log.path != "" {
		f, err := os.OpenFile(h.log.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
		if err != nil {
			return err
		}
		defer f.Close()
		w = f
	}
	if stage := h.stage(r.Message); stage != "" {
		h.log.write(w, "debug", stage)
	}
	h.log.write(w, "debug", r.Message)
	return nil
}
