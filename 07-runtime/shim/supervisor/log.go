//go:build linux

package supervisor

import (
	"bytes"
	"encoding/json"
	"os"
	"sync"
	"time"
	"unicode/utf8"
)

// maxLine is the longest piece of a line that one record holds: a longer line
// is several records, of which only the last ends with a newline. Docker's
// readers put them together.
const maxLine = 16 << 10

// logFile writes the output as Docker's json-file log driver does.
type logFile struct {
	mu    sync.Mutex
	f     *os.File     // nil: no log is kept
	lines [3][]byte    // by stream: the beginning of a line whose end has not come
	since [3]time.Time // when the line began, where records of it are written already
	full  error        // why the last write failed
}

func openLog(path string) (*logFile, error) {
	l := &logFile{}
	if path == "" {
		return l, nil
	}
	var err error
	// O_APPEND: a container that is started again continues its log.
	l.f, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	return l, err
}

// write adds output. Whole lines are written at once, in one write(2); the
// beginning of a line waits for its end, or for 16 KiB.
func (l *logFile) write(stream byte, b []byte) {
	if l.f == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now().UTC()
	var records []byte
	for len(b) > 0 {
		line := &l.lines[stream]
		n := min(len(b), maxLine-len(*line))
		whole := false
		if i := bytes.IndexByte(b[:n], '\n'); i >= 0 {
			n, whole = i+1, true
		}
		*line = append(*line, b[:n]...)
		b = b[n:]
		if !whole && len(*line) < maxLine {
			break
		}
		var rest []byte
		if !whole {
			*line, rest = cutRune(*line)
		}
		records = l.record(records, stream, now, whole)
		*line = append(*line, rest...)
	}
	l.append(records)
}

// cutRune splits off a character that has only begun at the end of b.
func cutRune(b []byte) (whole, begun []byte) {
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		if i := len(b) - n; utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				return b[:i], bytes.Clone(b[i:])
			}
			break
		}
	}
	return b, nil
}

// record appends the record of the pending line.
func (l *logFile) record(records []byte, stream byte, now time.Time, whole bool) []byte {
	at := now
	if began := l.since[stream]; !began.IsZero() {
		at = began
	}
	l.since[stream] = time.Time{}
	if !whole {
		l.since[stream] = at
	}
	text, _ := json.Marshal(string(l.lines[stream]))
	l.lines[stream] = l.lines[stream][:0]
	records = append(append(records, `{"log":`...), text...)
	name := `,"stream":"stdout","time":"`
	if stream == stderr {
		name = `,"stream":"stderr","time":"`
	}
	records = append(records, name...)
	records = at.AppendFormat(records, time.RFC3339Nano)
	return append(records, "\"}\n"...)
}

// flush writes the beginning of a line whose end will not come.
func (l *logFile) flush(stream byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f != nil && len(l.lines[stream]) > 0 {
		l.append(l.record(nil, stream, time.Now().UTC(), false))
	}
}

// append writes records. A full disk must not stop the container: they are
// lost, and the shim's own log says so once.
func (l *logFile) append(records []byte) {
	if len(records) == 0 {
		return
	}
	_, err := l.f.Write(records)
	if err != nil && l.full == nil {
		os.Stderr.WriteString("output is not logged: " + err.Error() + "\n")
	}
	l.full = err
}

func (l *logFile) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f != nil {
		l.f.Close()
		l.f = nil
	}
}
