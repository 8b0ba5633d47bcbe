package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
)

const usage = `usage: classroom [-o DIR] [-platforms OS/ARCH,…] [-box NAME]

Gathers what a room without internet needs. What DIR holds already is not
fetched again, but for the repository and its pages, which are made anew.
`

func main() {
	flags := flag.NewFlagSet("classroom", flag.ExitOnError)
	flags.Usage = func() { fmt.Fprint(os.Stderr, usage); flags.PrintDefaults() }
	out := flags.String("o", "", "the folder to make, `DIR` (default classroom in the repository)")
	platforms := flags.String("platforms", "linux/amd64,linux/arm64,darwin/amd64,darwin/arm64,windows/amd64,windows/arm64", "whose Go to gather")
	box := flags.String("box", "", "`NAME` of the box to gather, which `vagrant box list` knows; none: learners bring their own")
	flags.Parse(os.Args[1:])
	if flags.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "classroom: argument %q: want flags only\n", flags.Arg(0))
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := gather(ctx, *out, strings.Split(*platforms, ","), *box); err != nil {
		fmt.Fprintln(os.Stderr, "classroom:", err)
		os.Exit(1)
	}
}

func gather(ctx context.Context, out string, platforms []string, box string) error {
	root, err := repository()
	if err != nil {
		return err
	}
	if out == "" {
		out = filepath.Join(root, "classroom")
	}
	if out, err = filepath.Abs(out); err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	steps := []struct {
		name string
		do   func() error
	}{
		{"the repository and its pages", func() error { return site(ctx, root, filepath.Join(out, "drydock")) }},
		{"the modules", func() error { return modules(ctx, root, filepath.Join(out, "modules")) }},
		{"Go", func() error { return toolchains(ctx, root, filepath.Join(out, "go"), platforms) }},
		{"the programs", func() error {
			return programs(ctx, filepath.Join(out, "drydock"), filepath.Join(out, "programs"), platforms)
		}},
		{"the box", func() error { return boxes(ctx, filepath.Join(out, "box"), box) }},
	}
	for _, step := range steps {
		fmt.Printf("== %s\n", step.name)
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	fmt.Printf("\n%s is complete. One machine of the room may serve it, and images as well:\n"+
		"  image serve --mirror-of docker.io 0.0.0.0:5000    # chapter 6: 30 pulls, one download\n", out)
	return nil
}

// repository is the nearest directory above with a go.work.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, "go.work")); err == nil {
			return d, nil
		}
		if d == filepath.Dir(d) {
			return "", fmt.Errorf("no go.work in %s or above: type this in the repository", dir)
		}
	}
}

// run returns what a program prints. Its error holds what it says on stderr.
func run(ctx context.Context, dir string, env []string, program string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "GOWORK="), env...) // this program is built outside of the workspace
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(said.String()))
	}
	return out, nil
}
