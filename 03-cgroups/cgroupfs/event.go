package cgroupfs

// EventKind is what happened in a cgroup.
type EventKind string

const (
	// OOM: the memory limit is reached and nothing is left to reclaim. What
	// follows is a kill, unless somebody raises the limit.
	OOM EventKind = "oom"
	// OOMKill: a process was killed for it. v2 alone tells; v1 tells OOM, just
	// before it kills.
	OOMKill EventKind = "oom_kill"
	// MemoryHigh: memory.high was passed, and processes are slowed down. v2.
	MemoryHigh EventKind = "high"
	// ForkRefused: the pids limit made a fork(2) fail. v2.
	ForkRefused EventKind = "fork_refused"

	// Changes of state, told wherever a v2 hierarchy is mounted.
	Frozen    EventKind = "frozen"    // the last process stands still
	Thawed    EventKind = "thawed"    // they go on
	Populated EventKind = "populated" // the first process is inside
	Empty     EventKind = "empty"     // the last one has left
)

// Event is one thing that happened, or several of a kind that happened faster
// than they were received.
type Event struct {
	Kind  EventKind
	Count uint64 // how often since the last event of this kind; 1 for a change of state
}
