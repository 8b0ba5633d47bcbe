package shim

import (
	"encoding/json"
	"os"
	"time"
)

// Names inside a container's directory (LaunchOptions.Dir), which is the
// bundle that the runtime is given.
const (
	ConfigFile  = "shim.json"
	SocketFile  = "shim.sock"
	RootfsDir   = "rootfs"   // the layers are mounted here, visible to the shim and its children only
	NetworkFile = "netns"    // the network namespace is bound here, likewise
	LogFile     = "shim.log" // what the shim itself has to complain of
)

// ExecFile is where the description of a further process stands until it runs.
func ExecFile(id string) string { return "exec-" + id + ".json" }

// Config is what the shim has to know; [Launch] leaves it as shim.json.
type Config struct {
	ID          string `json:"id"`
	Runtime     string `json:"runtime"`     // the OCI runtime's program
	RuntimeRoot string `json:"runtimeRoot"` // its --root
	// Rootfs is mounted at DIR/rootfs. Nil: what config.json names is there already.
	Rootfs *Rootfs `json:"rootfs,omitempty"`
	// Log receives the output, one JSON object a line as Docker's json-file
	// log driver writes it. Empty: no log is kept.
	Log string `json:"log,omitempty"`
	// Exit is the file that tells how the container ended (see [Exit]).
	Exit string `json:"exit"`
	// Stdin keeps the standard input open for clients; else it is /dev/null.
	Stdin bool `json:"stdin,omitempty"`
	// Terminal, Cgroup and SharedPIDs repeat what config.json says; Launch sets
	// them where it is given the spec.
	Terminal bool   `json:"terminal,omitempty"`
	Cgroup   string `json:"cgroup,omitempty"` // linux.cgroupsPath
	// SharedPIDs: the container has no PID namespace of its own, so the kernel
	// does not end its other processes with the first.
	SharedPIDs bool `json:"sharedPIDs,omitempty"`
	// Network: the shim inherits the network namespace as descriptor
	// [NetworkFD] and binds it to DIR/netns.
	Network bool `json:"network,omitempty"`
}

// Rootfs is an overlay mount (chapter 4). An empty Upper makes it read-only.
type Rootfs struct {
	Lower    []string `json:"lower"` // top first
	Upper    string   `json:"upper,omitempty"`
	Work     string   `json:"work,omitempty"`
	ReadOnly bool     `json:"readOnly,omitempty"`
}

// The descriptors that a shim inherits.
const (
	SocketFD  = 3 // the listening socket DIR/shim.sock
	NetworkFD = 4 // the network namespace: /proc/SHIM/fd/4 for as long as the shim lives
	// NarrationFD takes explained calls, where somebody listens (package explain).
	NarrationFD = 5
)

// Exit is how a container ended; it stands as JSON in Config.Exit.
type Exit struct {
	// Code is the exit status, or 128 plus the signal that ended the process.
	Code       int       `json:"exitCode"`
	Signal     int       `json:"signal,omitempty"`
	OOMKilled  bool      `json:"oomKilled"` // the kernel killed a process of the container for want of memory
	FinishedAt time.Time `json:"finishedAt"`
}

// ReadExit reads an exit file. The error is fs.ErrNotExist where the container
// has not ended, or its shim was killed.
func ReadExit(path string) (Exit, error) {
	var e Exit
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, &e)
	}
	return e, err
}
