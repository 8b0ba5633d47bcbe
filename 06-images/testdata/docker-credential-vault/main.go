// Docker-credential-vault is a credential helper for tests: it knows what the
// JSON file named by $VAULT says, an object with the answer for each server.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
)

func main() {
	server, err := io.ReadAll(os.Stdin)
	if err != nil || len(os.Args) != 2 || os.Args[1] != "get" {
		fmt.Println("usage: docker-credential-vault get")
		os.Exit(1)
	}
	raw, err := os.ReadFile(os.Getenv("VAULT"))
	if err != nil {
		fmt.Println("the vault is locked")
		os.Exit(1)
	}
	var vault map[string]json.RawMessage
	if err := json.Unmarshal(raw, &vault); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	answer, ok := vault[string(server)]
	if !ok {
		fmt.Println("credentials not found in native keychain")
		os.Exit(1)
	}
	os.Stdout.Write(answer)
}
