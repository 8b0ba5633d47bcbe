// Drydock is the client. See drydock --help.
package main

import (
	"os"

	"drydock.example/07-runtime/cli"
)

// version is set by the build: -ldflags "-X main.version=…".
var version = "dev"

func main() {
	os.Exit(cli.Main(version, os.Args[1:]))
}
