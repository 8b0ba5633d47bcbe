//go:build linux

package supervisor

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"drydock.example/07-runtime/shim"
)

// record is one line of the log.
type record struct {
	Log    string    `json:"log"`
	Stream string    `json:"stream"`
	Time   time.Time `json:"time"`
}

// written returns the log's records after the pieces were written to stdout.
func written(t *testing.T, pieces ...string) []record {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	l, err := openLog(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pieces {
		l.write(stdout, []byte(p))
	}
	l.flush(stdout)
	l.close()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var records []record
	for line := range bytes.Lines(text) {
		var r record
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		records = append(records, r)
	}
	return records
}

func TestLogRecords(t *testing.T) {
	long := strings.Repeat("x", maxLine)
	for _, test := range []struct {
		pieces, want []string
	}{
		{nil, nil},
		{[]string{"one\ntwo\n"}, []string{"one\n", "two\n"}},
		{[]string{"o", "ne", "\n", "two\n"}, []string{"one\n", "two\n"}},
		{[]string{"no end"}, []string{"no end"}},
		{[]string{"\n\n"}, []string{"\n", "\n"}},
		{[]string{long + "\n"}, []string{long, "\n"}},
		{[]string{long[1:] + "\n"}, []string{long[1:] + "\n"}},
		{[]string{long + long + "y\n"}, []string{long, long, "y\n"}},
		// A character is not torn where a line is split.
		{[]string{long[1:] + "é\n"}, []string{long[1:], "é\n"}},
		{[]string{long[2:] + "€", "€\n"}, []string{long[2:], "€€\n"}},
		{[]string{"<&>\r\n\"\x1b[0m\n"}, []string{"<&>\r\n", "\"\x1b[0m\n"}},
		{[]string{"\xff\n"}, []string{"\ufffd\n"}},
	} {
		var got []string
		for _, r := range written(t, test.pieces...) {
			got = append(got, r.Log)
			if r.Stream != "stdout" || time.Since(r.Time).Abs() > time.Minute {
				t.Errorf("record %+v", r)
			}
		}
		if len(got) != len(test.want) || strings.Join(got, "|") != strings.Join(test.want, "|") {
			t.Errorf("%.40q: records %.80q, want %.80q", test.pieces, got, test.want)
		}
	}
}

func TestPiecesOfALineHaveOneTime(t *testing.T) {
	r := written(t, strings.Repeat("x", maxLine), "end\n", "next\n")
	if len(r) != 3 || !r[0].Time.Equal(r[1].Time) || r[2].Time.Before(r[1].Time) {
		t.Errorf("times of %d records", len(r))
	}
}

func FuzzLog(f *testing.F) {
	f.Add("one\ntwo", 3)
	f.Add("é€\n", 1)
	f.Fuzz(func(t *testing.T, text string, cut int) {
		text = strings.ToValidUTF8(text, "?")
		cut = min(max(cut, 0), len(text))
		var got strings.Builder
		for _, r := range written(t, text[:cut], text[cut:]) {
			got.WriteString(r.Log)
		}
		if got.String() != text {
			t.Errorf("got %q, want %q", got.String(), text)
		}
	})
}

// connected returns two ends of a Unix socket.
func connected(t *testing.T) (ours, theirs *net.UnixConn) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var conns [2]*net.UnixConn
	for i, fd := range pair {
		f := os.NewFile(uintptr(fd), "socket")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		conns[i] = c.(*net.UnixConn)
		t.Cleanup(func() { c.Close() })
	}
	return conns[0], conns[1]
}

// TestQueueKeepsWhatAClientDoesNotRead writes more than memory and socket hold
// before the client reads the first byte, again and again while it reads.
func TestQueueKeepsWhatAClientDoesNotRead(t *testing.T) {
	ours, theirs := connected(t)
	conf := shim.Config{Terminal: true, Exit: filepath.Join(t.TempDir(), "exit.json")}
	q := newQueue(ours, shim.AttachOptions{Stdout: true}, conf)
	var want bytes.Buffer
	write := func(n int) {
		for i := range n {
			piece := bytes.Repeat([]byte{byte('a' + i%26)}, 1000)
			want.Write(piece)
			q.write(stdout, piece)
		}
	}
	write(5000)
	if len(q.memory) > inMemory || q.written == 0 {
		t.Errorf("%d bytes in memory, %d in the file", len(q.memory), q.written)
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		q.send()
		ours.CloseWrite()
	}()
	got := make([]byte, 3_000_000)
	if _, err := io.ReadFull(theirs, got); err != nil {
		t.Fatal(err)
	}
	write(3000)
	q.close()
	rest, err := io.ReadAll(theirs)
	if err != nil {
		t.Fatal(err)
	}
	<-sent
	q.free()
	if !bytes.Equal(append(got, rest...), want.Bytes()) {
		t.Errorf("%d bytes arrived, want %d, or others", len(got)+len(rest), want.Len())
	}
}

func TestQueueWhoseClientHasGone(t *testing.T) {
	ours, theirs := connected(t)
	q := newQueue(ours, shim.AttachOptions{Stdout: true}, shim.Config{Exit: "/nowhere/exit.json"})
	theirs.Close()
	for range 10_000 {
		q.write(stdout, make([]byte, 1000))
	}
	q.send() // returns
	if !q.dropped || q.memory != nil {
		t.Errorf("dropped %v, %d bytes kept", q.dropped, len(q.memory))
	}
}
