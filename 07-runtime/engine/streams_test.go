//go:build linux

package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
)

// One who attaches before the start has every byte, and the end of what he sends is the end of
// the container's input.
func TestAttachBeforeStart(t *testing.T) {
	e := open(t)
	req := request("cat")
	req.Config.OpenStdin, req.Config.StdinOnce = true, true
	id := create(t, e, "", req)
	conn, err := e.ContainerAttach(t.Context(), id, AttachOptions{Stdin: true, Stdout: true, Stderr: true, Stream: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// It is silent until the start: what is written waits.
	written := make(chan error)
	go func() {
		_, err := io.WriteString(conn, "over the side\n")
		if err == nil {
			err = closeWrite(conn)
		}
		written <- err
	}()
	start(t, e, id)
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if _, err := stdcopy.StdCopy(&out, &errs, conn); err != nil {
		t.Fatal(err)
	}
	if out.String() != "over the side\n" || errs.Len() > 0 {
		t.Errorf("%q, %q", out.String(), errs.String())
	}
	if code := wait(t, e, id, ""); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// The connections of those who wait for a start end when it fails, when the container is removed,
// and when they are closed.
func TestAttachToWhatNeverStarts(t *testing.T) {
	e := open(t)
	attach := func(id string) net.Conn {
		t.Helper()
		conn, err := e.ContainerAttach(t.Context(), id, AttachOptions{Stdout: true, Stream: true})
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	ended := func(conn net.Conn) {
		t.Helper()
		if n, err := conn.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("%d bytes, %v", n, err)
		}
	}
	req := request()
	req.Config.Entrypoint = []string{"no-such-program"}
	id := create(t, e, "", req)
	conn := attach(id)
	if err := e.ContainerStart(t.Context(), id); err == nil {
		t.Fatal("it started")
	}
	ended(conn)

	conn = attach(id)
	closed := attach(id)
	closed.Close()
	ended(closed)
	if err := e.ContainerRemove(t.Context(), id, false, false); err != nil {
		t.Fatal(err)
	}
	ended(conn)
}

// A terminal's stream is raw, and the detach keys end it without ending the container.
func TestTerminal(t *testing.T) {
	e := open(t)
	req := request("ticks")
	req.Config.Tty, req.Config.OpenStdin = true, true
	id := create(t, e, "", req)
	attach := func() net.Conn {
		t.Helper()
		conn, err := e.ContainerAttach(t.Context(), id, AttachOptions{Stdin: true, Stdout: true, Stderr: true, Stream: true})
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	conn := attach()
	start(t, e, id)
	io.WriteString(conn, "one\n")
	until(t, conn, "got one\r\n")
	if err := e.ContainerResize(t.Context(), id, 40, 100); err != nil {
		t.Error(err)
	}
	if _, err := conn.Write([]byte("tw\x10")); err != nil {
		t.Fatal(err)
	}
	// ctrl-p alone belongs to the program.
	if _, err := conn.Write([]byte("o\n")); err != nil {
		t.Fatal(err)
	}
	until(t, conn, "got tw\x10o\r\n")
	if _, err := conn.Write([]byte("\x10\x11")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, conn); err != nil && !strings.Contains(err.Error(), "closed") {
		t.Error(err)
	}
	if !stateOf(t, e, id).Running {
		t.Fatal("the container has ended")
	}

	conn = attach()
	defer conn.Close()
	io.WriteString(conn, "three\n")
	until(t, conn, "got three\r\n")
	io.WriteString(conn, "\x04") // ctrl-d: the end of input
	if code := wait(t, e, id, ""); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if err := e.ContainerResize(t.Context(), id, 40, 100); !errdefs.IsConflict(err) {
		t.Errorf("resize of what has ended: %v", err)
	}
}

// until reads until text has come.
func until(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	var got strings.Builder
	for b := make([]byte, 1); !strings.HasSuffix(got.String(), text); {
		if _, err := conn.Read(b); err != nil {
			t.Fatalf("%q has not come but %q: %v", text, got.String(), err)
		}
		got.Write(b)
	}
}

func TestParseDetachKeys(t *testing.T) {
	for s, want := range map[string]string{"": "\x10\x11", "ctrl-p,ctrl-q": "\x10\x11", "a,ctrl-[": "a\x1b", "ctrl-@": "\x00"} {
		if got, err := parseDetachKeys(s); err != nil || string(got) != want {
			t.Errorf("%q: %q, %v", s, got, err)
		}
	}
	for _, s := range []string{"ctrl-", "ctrl-ab", "ab", "ctrl-1", ","} {
		if _, err := parseDetachKeys(s); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestLogs(t *testing.T) {
	e := open(t)
	id, out, errs, _ := runToEnd(t, e, request("print", "to stdout", "to stderr"))
	if out != "to stdout\n" || errs != "to stderr\n" {
		t.Errorf("%q, %q", out, errs)
	}
	if out, errs := logs(t, e, id, LogOptions{Stderr: true, Tail: -1}); out != "" || errs != "to stderr\n" {
		t.Errorf("stderr alone: %q, %q", out, errs)
	}
	out, _ = logs(t, e, id, LogOptions{Stdout: true, Tail: -1, Timestamps: true})
	stamp, text, _ := strings.Cut(out, " ")
	if _, err := time.Parse(time.RFC3339Nano, stamp); err != nil || text != "to stdout\n" {
		t.Errorf("with a timestamp: %q", out)
	}

	id, out, _, _ = runToEnd(t, e, request("lines", "2000"))
	if n := strings.Count(out, "\n"); n != 2000 || !strings.HasSuffix(out, "\nline 2000\n") {
		t.Errorf("%d lines of 2000", n)
	}
	for tail, want := range map[int]string{0: "", 1: "line 2000\n", 3: "line 1998\nline 1999\nline 2000\n"} {
		if out, _ := logs(t, e, id, LogOptions{Stdout: true, Tail: tail}); out != want {
			t.Errorf("the last %d lines are %q", tail, out)
		}
	}
	if out, _ := logs(t, e, id, LogOptions{Stdout: true, Tail: 5000}); strings.Count(out, "\n") != 2000 {
		t.Errorf("more lines than there are: %d", strings.Count(out, "\n"))
	}
	// A follow of what has ended ends.
	if out, _ := logs(t, e, id, LogOptions{Stdout: true, Tail: 1, Follow: true}); out != "line 2000\n" {
		t.Errorf("followed: %q", out)
	}
}

// Since and until choose by the time that stands in the log.
func TestLogTimes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	noon := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	var text bytes.Buffer
	for i := range 5 {
		b, err := json.Marshal(logEntry{Log: string(rune('a'+i)) + "\n", Stream: "stdout", Time: noon.Add(time.Duration(i) * time.Minute)})
		if err != nil {
			t.Fatal(err)
		}
		text.Write(append(b, '\n'))
	}
	text.WriteString(`{"log":"half`)
	if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		since, until time.Time
		want         string
	}{
		{want: "a\nb\nc\nd\ne\n"},
		{since: noon.Add(3 * time.Minute), want: "d\ne\n"},
		{until: noon.Add(time.Minute), want: "a\nb\n"},
		{since: noon.Add(time.Minute), until: noon.Add(2 * time.Minute), want: "b\nc\n"},
	} {
		l, err := openLog(path, LogOptions{Stdout: true, Tail: -1, Since: c.since, Until: c.until}, true)
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		for entry, err := l.next(); err == nil; entry, err = l.next() {
			got.Write(entry)
		}
		l.Close()
		if got.String() != c.want {
			t.Errorf("%v to %v: %q", c.since, c.until, got.String())
		}
	}
}

// A follow has each line as it comes, and ends with the container or with its caller.
func TestLogsFollow(t *testing.T) {
	e := open(t)
	req := request("ticks")
	req.Config.OpenStdin, req.Config.StdinOnce = true, true
	id := create(t, e, "", req)
	conn, err := e.ContainerAttach(t.Context(), id, AttachOptions{Stdin: true, Stream: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	start(t, e, id)

	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := e.ContainerLogs(t.Context(), id, LogOptions{Stdout: true, Tail: -1, Follow: true}, w)
		w.Close()
		ended <- err
	}()
	header := make([]byte, 8)
	for _, word := range []string{"one", "two"} {
		io.WriteString(conn, word+"\n")
		line := make([]byte, len("got "+word+"\n"))
		if _, err := io.ReadFull(r, header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(r, line); err != nil || string(line) != "got "+word+"\n" {
			t.Fatalf("%q, %v", line, err)
		}
	}

	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.ContainerLogs(impatient, id, LogOptions{Stdout: true, Tail: 0, Follow: true}, io.Discard); err != context.Canceled {
		t.Errorf("a caller who left: %v", err)
	}

	closeWrite(conn)
	if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
		t.Errorf("the rest is %q, %v", rest, err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if out, _ := logs(t, e, id, LogOptions{Stdout: true, Tail: -1}); out != "got one\ngot two\n" {
		t.Errorf("the log is %q", out)
	}

	// With Logs, an attach gives what is there.
	conn, err = e.ContainerAttach(t.Context(), id, AttachOptions{Stdout: true, Logs: true})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := stdcopy.StdCopy(&out, io.Discard, conn); err != nil || out.String() != "got one\ngot two\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
	conn.Close()
}
