//go:build linux

package seccomp

import (
	"fmt"
	"runtime"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// A Filter is what seccomp(2) takes.
type Filter struct {
	Program []byte // array of struct sock_filter, in this machine's byte order
	Flags   uint   // SECCOMP_FILTER_FLAG_…, with NEW_LISTENER where a rule is SCMP_ACT_NOTIFY
}

// Len returns the number of the program's instructions.
func (f *Filter) Len() int { return len(f.Program) / unix.SizeofSockFilter }

// Notifies reports whether the filter has calls decided by a listener
// (seccomp_unotify(2)).
func (f *Filter) Notifies() bool { return f.Flags&unix.SECCOMP_FILTER_FLAG_NEW_LISTENER != 0 }

// Compile turns a profile into a filter for this machine. Errors name the
// field, its value and what was expected.
func Compile(profile *specs.LinuxSeccomp) (*Filter, error) {
	if abis[0].arch == "" {
		return nil, fmt.Errorf("linux.seccomp: this program does not know the system calls of %s", runtime.GOARCH)
	}
	flags, err := flagSet(profile.Flags)
	if err != nil {
		return nil, err
	}
	r, err := readRules(profile)
	if err != nil {
		return nil, err
	}
	if r.notifies {
		if profile.ListenerPath == "" {
			return nil, fmt.Errorf("linux.seccomp.listenerPath: missing: SCMP_ACT_NOTIFY wants the socket of a program that decides")
		}
		flags |= unix.SECCOMP_FILTER_FLAG_NEW_LISTENER
		if flags&unix.SECCOMP_FILTER_FLAG_TSYNC != 0 {
			// Both have a number to return: TSYNC gives up its own.
			flags |= unix.SECCOMP_FILTER_FLAG_TSYNC_ESRCH
		}
	}

	p := &program{code: make([]unix.SockFilter, 0, 512), rets: map[uint32]int{}}
	w := writer{program: p, rules: r, written: map[decision]target{}}
	// From the last question to the first, so the machine's own architecture is asked for first.
	test := returns(unix.SECCOMP_RET_KILL_PROCESS)
	for i := len(abis) - 1; i >= 0; i-- {
		audit := abis[i].audit
		if i > 0 && abis[i-1].audit == audit || !r.listed[i] {
			continue
		}
		tree := p.load(dataNumber, w.search(r.spans(audit)))
		test = p.jump(unix.BPF_JEQ, audit, tree, test)
	}
	p.load(dataArch, test)
	b, err := p.bytes()
	return &Filter{Program: b, Flags: flags}, err
}

// rules are a profile, checked.
type rules struct {
	fallback uint32 // of calls that the profile does not name
	unknown  uint32 // of calls that are newer than the profile
	listed   [len(abis)]bool
	list     []rule
	calls    [len(abis)][]call
	chains   [][]int
	notifies bool
}

// A rule is an answer to a call whose arguments all compare well.
type rule struct {
	answer uint32
	args   []specs.LinuxSeccompArg
}

// A call is a number and, in the lower half, the index of a rule for it: so it
// sorts by number, and by the profile's order.
type call uint64

func (c call) number() uint32 { return uint32(c >> 32) }
func (c call) rule() int      { return int(uint32(c)) }

func readRules(profile *specs.LinuxSeccomp) (*rules, error) {
	r := &rules{}
	var err error
	if r.fallback, err = answer("linux.seccomp.defaultAction", "linux.seccomp.defaultErrnoRet", profile.DefaultAction, profile.DefaultErrnoRet); err != nil {
		return nil, err
	}
	switch r.fallback & unix.SECCOMP_RET_ACTION_FULL {
	case retUserNotif:
		return nil, fmt.Errorf("linux.seccomp.defaultAction: %q: a process that waits for a decision about every call could not even ask for it", profile.DefaultAction)
	case unix.SECCOMP_RET_ALLOW, unix.SECCOMP_RET_LOG, unix.SECCOMP_RET_TRACE:
		r.unknown = r.fallback
	default:
		r.unknown = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	}
	r.listed[0] = true
	for i, a := range profile.Architectures {
		at := slices.IndexFunc(abis[:], func(b abi) bool { return b.arch == a })
		if at >= 0 {
			r.listed[at] = true
		} else if !foreign(a) {
			return nil, fmt.Errorf("linux.seccomp.architectures[%d]: %q: want a name like %q", i, a, abis[0].arch)
		}
	}
	names := 0
	for _, s := range profile.Syscalls {
		names += len(s.Names)
	}
	for i := range r.calls {
		if r.listed[i] {
			r.calls[i] = make([]call, 0, names)
		}
	}
	for i, s := range profile.Syscalls {
		if err := r.add(fmt.Sprintf("linux.seccomp.syscalls[%d]", i), s); err != nil {
			return nil, err
		}
	}
	for i := range r.calls {
		slices.Sort(r.calls[i])
	}
	return r, nil
}

func (r *rules) add(field string, s specs.LinuxSyscall) error {
	ret, err := answer(field+".action", field+".errnoRet", s.Action, s.ErrnoRet)
	if err != nil {
		return err
	}
	if len(s.Names) == 0 {
		return fmt.Errorf("%s.names: empty: want the names of system calls", field)
	}
	if ret == retUserNotif {
		if slices.Contains(s.Names, "write") {
			return fmt.Errorf("%s: SCMP_ACT_NOTIFY cannot be used for the write syscall: the process hands over its listener by write(2), before anybody can decide about it", field)
		}
		r.notifies = true
	}
	var seen [maxArguments]bool
	twice := false
	for i, a := range s.Args {
		if err := checkArgument(fmt.Sprintf("%s.args[%d]", field, i), a); err != nil {
			return err
		}
		twice = twice || seen[a.Index]
		seen[a.Index] = true
	}
	first := len(r.list)
	if twice {
		for i := range s.Args {
			r.list = append(r.list, rule{ret, s.Args[i : i+1]})
		}
	} else {
		r.list = append(r.list, rule{ret, s.Args})
	}
	for _, name := range s.Names {
		numbers, ok := lookUp(name)
		if !ok {
			continue
		}
		for abi, n := range numbers {
			if n < 0 || !r.listed[abi] {
				continue
			}
			for i := first; i < len(r.list); i++ {
				r.calls[abi] = append(r.calls[abi], call(uint64(n)<<32|uint64(i)))
			}
		}
	}
	return nil
}

// A decision is the answer to a call: the first rule of a chain that holds
// decides, or else the answer stands.
type decision struct {
	answer uint32
	chain  int  // index in rules.chains from 1 on; 0 is no chain
	wide   bool // how the chain compares
}

// decide returns the decision about a call from all of its rules.
func (r *rules) decide(calls []call, wide bool) decision {
	for _, c := range calls {
		if len(r.list[c.rule()].args) == 0 {
			return decision{answer: r.list[c.rule()].answer}
		}
	}
	chain := make([]int, len(calls))
	for i, c := range calls {
		chain[i] = c.rule()
	}
	at := slices.IndexFunc(r.chains, func(c []int) bool { return slices.Equal(c, chain) })
	if at < 0 {
		at = len(r.chains)
		r.chains = append(r.chains, chain)
	}
	return decision{r.fallback, at + 1, wide}
}

// A span is a range of numbers with one decision, up to the next span.
type span struct {
	first uint32
	decision
}

// spans divides the numbers of an architecture, all 2³² of them.
func (r *rules) spans(audit uint32) []span {
	spans := make([]span, 0, 256)
	put := func(first uint32, d decision) {
		if n := len(spans); n == 0 || spans[n-1].decision != d {
			spans = append(spans, span{first, d})
		}
	}
	fallback, unknown := decision{answer: r.fallback}, decision{answer: r.unknown}
	for i, a := range abis {
		if a.audit != audit {
			continue
		}
		if !r.listed[i] {
			put(a.first, decision{answer: unix.SECCOMP_RET_KILL_PROCESS})
			continue
		}
		calls, unknown := r.calls[i], unknown
		if len(calls) == 0 {
			unknown = fallback // a profile that names nothing has no age
		}
		newest := a.first
		for _, c := range calls {
			if c.number() < a.first+private {
				newest = c.number()
			}
		}
		next := a.first
		for len(calls) > 0 {
			number, n := calls[0].number(), 1
			for n < len(calls) && calls[n].number() == number {
				n++
			}
			if number > next && next > newest {
				put(next, unknown)
			} else if number > next {
				put(next, fallback)
			}
			put(number, r.decide(calls[:n], a.wide))
			calls, next = calls[n:], number+1
		}
		put(next, unknown)
	}
	// -1 is what a tracer leaves of a call that it has taken over (ptrace(2)).
	put(^uint32(0), unknown)
	return spans
}

// writer writes decisions, each once.
type writer struct {
	*program
	rules   *rules
	written map[decision]target
}

// search writes a binary search for the span of the number in the accumulator.
func (w *writer) search(spans []span) target {
	switch n := len(spans); {
	case n == 1:
		return w.decide(spans[0].decision)
	case n == 3 && spans[0].decision == spans[2].decision && spans[2].first == spans[1].first+1:
		around := w.decide(spans[0].decision)
		return w.jump(unix.BPF_JEQ, spans[1].first, w.decide(spans[1].decision), around)
	}
	half := len(spans) / 2
	high := w.search(spans[half:])
	low := w.search(spans[:half])
	return w.jump(unix.BPF_JGE, spans[half].first, high, low)
}

// decide writes a decision.
func (w *writer) decide(d decision) target {
	next := returns(d.answer)
	if d.chain == 0 {
		return next
	}
	if t, ok := w.written[d]; ok {
		return t
	}
	for _, i := range slices.Backward(w.rules.chains[d.chain-1]) {
		yes, no := returns(w.rules.list[i].answer), next
		for _, a := range slices.Backward(w.rules.list[i].args) {
			yes = w.compare(a, d.wide, yes, no)
		}
		next = yes
	}
	w.written[d] = next
	return next
}
