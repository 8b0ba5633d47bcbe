package cli

// defaultHost is where the virtual machine's socket is expected; see vagrant/.
const defaultHost = "npipe:////./pipe/drydock_engine"
