//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	namespaces "drydock.example/02-namespaces"
	"drydock.example/07-runtime/oci"
)

func spec(_ context.Context, _ *global, args []string) error {
	opt := options("spec")
	var bundle string
	opt.StringVar(&bundle, "bundle", ".", "the bundle's directory")
	opt.StringVar(&bundle, "b", ".", "the bundle's directory")
	if _, err := parse(opt, args, "", 0, 0); err != nil {
		return err
	}
	s := namespaces.NewSpec("rootfs", "sh")
	s.Process.Terminal = true
	s.Root.Readonly = true
	s.Hostname = "drydock"
	b, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(bundle, oci.ConfigFile), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if errors.Is(err, fs.ErrExist) {
		return errors.New("File config.json exists. Remove it first") //nolint:staticcheck // runc's words
	}
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	return errors.Join(err, f.Close())
}
