//go:build unix

package explain

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
)

const chapter Chapter = 1

func TestTextIsOneNumberedLineForEachCall(t *testing.T) {
	var out bytes.Buffer
	ctx := With(context.Background(), Text(&out))
	chapter.Call(ctx, "every path starts here", "chroot(%q)", "/tmp/jail")
	Chapter(3).Call(ctx, "no more than 64 MiB", "write(%q, %q)", "memory.max", "67108864")
	want := "  1  ch1  chroot(\"/tmp/jail\")  # every path starts here\n" +
		"  2  ch3  write(\"memory.max\", \"67108864\")  # no more than 64 MiB\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

func TestTextNumbersCallsOfSeveralThreads(t *testing.T) {
	var out bytes.Buffer
	ctx := With(context.Background(), Text(&out))
	var threads sync.WaitGroup
	for range 8 {
		threads.Go(func() {
			for range 10 {
				chapter.Call(ctx, "why", "sync()")
			}
		})
	}
	threads.Wait()
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 80 || lines[79] != " 80  ch1  sync()  # why" {
		t.Errorf("%d lines, the last %q", len(lines), lines[len(lines)-1])
	}
}

// calls is a handler that keeps what it gets.
type calls struct {
	mu    sync.Mutex
	lines []string
	err   error
}

func (c *calls) Enabled(context.Context, slog.Level) bool { return true }
func (c *calls) WithAttrs([]slog.Attr) slog.Handler       { return c }
func (c *calls) WithGroup(string) slog.Handler            { return c }
func (c *calls) Handle(_ context.Context, r slog.Record) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	line := r.Message
	r.Attrs(func(a slog.Attr) bool { line += " " + a.String(); return true })
	c.lines = append(c.lines, line)
	return c.err
}

func TestRecordsOfAChildComeThroughThePipe(t *testing.T) {
	got := &calls{}
	ctx := With(context.Background(), got)
	w, listener, err := Pipe(ctx)
	if err != nil {
		t.Fatal(err)
	}
	// What the child does, with a context of its own.
	number, err := syscall.Dup(int(w.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	key, fd, _ := strings.Cut(Env(number), "=")
	t.Setenv(key, fd)
	child, f := FromEnv(context.Background())
	if f == nil || int(f.Fd()) != number {
		t.Fatalf("FromEnv returns the file %v", f)
	}
	defer f.Close()
	if value, set := os.LookupEnv(key); set {
		t.Errorf("%s=%s is left for the user's program", key, value)
	}
	Chapter(2).Call(child, "a name of its own", "sethostname(%q, 3)", "bo\"x")
	if _, err := w.WriteString("no record\n"); err != nil {
		t.Fatal(err)
	}
	// And a grandchild, to whom the child hands the pipe on.
	handed, _, err := Pipe(child)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	w.Close()
	Chapter(2).Call(With(context.Background(), JSON(handed)), "its own root", "pivot_root(%q, %q)", ".", ".")
	handed.Close()
	listener.Wait()
	want := []string{
		`sethostname("bo\"x", 3) chapter=2 why=a name of its own`,
		`pivot_root(".", ".") chapter=2 why=its own root`,
	}
	if strings.Join(got.lines, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q, want %q", got.lines, want)
	}
}

func TestWithoutAListenerThereIsNoPipe(t *testing.T) {
	w, listener, err := Pipe(context.Background())
	if w != nil || err != nil {
		t.Errorf("got %v, %v, want nil, nil", w, err)
	}
	listener.Wait()
	t.Setenv(envFD, "")
	if ctx, f := FromEnv(context.Background()); f != nil || Handler(ctx) != nil {
		t.Errorf("without %s: %v, %v", envFD, ctx, f)
	}
}

func TestANarrationThatCannotBeWrittenStopsNothing(t *testing.T) {
	h := &calls{err: errors.New("disk full")}
	chapter.Call(With(context.Background(), h), "why", "sync()")
	if len(h.lines) != 1 {
		t.Errorf("got %q", h.lines)
	}
}

func TestACallThatNobodyHearsAllocatesNothing(t *testing.T) {
	ctx := context.WithValue(context.Background(), struct{ other int }{}, 1)
	path := "/tmp/jail"
	if n := testing.AllocsPerRun(100, func() {
		chapter.Call(ctx, "why", "chroot(%q)", path)
	}); n > 1 { // the string in its interface
		t.Errorf("%v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() {
		chapter.Call(ctx, "why", "chdir(\"/\")")
	}); n != 0 {
		t.Errorf("%v allocations without arguments", n)
	}
}

func BenchmarkCallThatNobodyHears(b *testing.B) {
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		chapter.Call(ctx, "why", "chdir(%q)", "/")
	}
}
