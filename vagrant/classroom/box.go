package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// boxes fills dir with PROVIDER.box for each provider that this host has the
// box of. The Vagrantfile takes them in place of a download.
func boxes(ctx context.Context, dir, name string) error {
	if name == "" {
		fmt.Println("   none asked for: see -box")
		return nil
	}
	list, err := run(ctx, "", nil, "vagrant", "box", "list", "--machine-readable")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	found := false
	var field [3]string // name, provider, version come as lines of their own
	for line := range strings.Lines(string(list)) {
		column := strings.Split(strings.TrimSpace(line), ",")
		if len(column) < 4 {
			continue
		}
		switch column[2] {
		case "box-name":
			field[0] = column[3]
		case "box-provider":
			field[1] = column[3]
		case "box-version":
			field[2] = column[3]
			if field[0] != name {
				continue
			}
			found = true
			file := filepath.Join(dir, field[1]+".box")
			if _, err := os.Stat(file); err == nil {
				continue
			}
			fmt.Println("  ", filepath.Base(file))
			// It writes package.box into the directory where it stands.
			tmp, err := os.MkdirTemp(dir, ".repackage-")
			if err != nil {
				return err
			}
			defer os.RemoveAll(tmp)
			if _, err := run(ctx, tmp, nil, "vagrant", "box", "repackage", field[0], field[1], field[2]); err != nil {
				return err
			}
			if err := os.Rename(filepath.Join(tmp, "package.box"), file); err != nil {
				return err
			}
		}
	}
	if !found {
		return fmt.Errorf("`vagrant box list` has no %s: `vagrant box add %s` first", name, name)
	}
	return nil
}
