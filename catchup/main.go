// Catchup brings a learner who fell behind to the start of a chapter, without
// losing their work:
//
//	go run ./catchup 4
//
// What they changed is first copied to my-work/. Then the chapters before it are
// as the repository has them, and their exercises are solved. It needs git.
package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:], time.Now()); err != nil {
		fmt.Fprintln(os.Stderr, "catchup:", err)
		os.Exit(1)
	}
}

func run(args []string, now time.Time) error {
	chapters, err := filepath.Glob("0*-*")
	if err != nil {
		return err
	}
	if len(chapters) == 0 {
		return errors.New("this directory has no chapters: type it in the repository's root")
	}
	if len(args) != 1 {
		return fmt.Errorf("arguments %q: want one, the chapter to be ready for, as in `go run ./catchup 4`", args)
	}
	chapter, err := strconv.Atoi(args[0])
	if err != nil || chapter < 1 || chapter > len(chapters) {
		return fmt.Errorf("chapter %q: want a number from 1 to %d", args[0], len(chapters))
	}
	before := chapters[:chapter-1]
	mine, err := changed()
	if err != nil {
		return err
	}
	if len(mine) > 0 {
		kept := filepath.Join("my-work", now.Format("2006-01-02-150405"))
		if err := keep(kept, mine); err != nil {
			return fmt.Errorf("keep your work, of which nothing has changed yet: %w", err)
		}
		fmt.Printf("Your %d changed files are kept in %s\n", len(mine), kept)
	}
	for _, dir := range before {
		if _, err := git("restore", "--source=HEAD", "--staged", "--worktree", "--", dir); err != nil {
			return err
		}
		if err := solve(dir); err != nil {
			return err
		}
	}
	fmt.Printf("Chapter %d can begin: what comes before it is whole, and its exercises are solved\n", chapter)
	return nil
}

func git(args ...string) (string, error) {
	var said strings.Builder
	cmd := exec.Command("git", args...)
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(said.String()))
	}
	return string(out), nil
}

// changed returns the files that differ from what was cloned, or are new.
func changed() ([]string, error) {
	var files []string
	for _, list := range [][]string{
		{"diff", "HEAD", "--name-only", "--relative", "--diff-filter=d", "-z"},
		{"ls-files", "--others", "--exclude-standard", "-z"},
	} {
		out, err := git(list...)
		if err != nil {
			return nil, err
		}
		for file := range strings.SplitSeq(out, "\x00") {
			if file != "" && !strings.HasPrefix(file, "my-work/") {
				files = append(files, filepath.FromSlash(file))
			}
		}
	}
	return files, nil
}

// keep copies files to dir, complete before anything else is done.
func keep(dir string, files []string) error {
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		to := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(to, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// solve makes each starter of a chapter the solution beside it: the same file
// but for the tag that chooses between the two.
func solve(chapter string) error {
	solutions, err := filepath.Glob(filepath.Join(chapter, "exercises", "*", "solution.go"))
	if err != nil {
		return err
	}
	for _, file := range solutions {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		const tag, other = "//go:build linux && solution\n", "//go:build linux && !solution\n"
		rest, ok := strings.CutPrefix(string(text), tag)
		if !ok {
			return fmt.Errorf("%s does not begin with %q: %w", file, tag, fs.ErrInvalid)
		}
		if err := os.WriteFile(filepath.Join(filepath.Dir(file), "exercise.go"), []byte(other+rest), 0o644); err != nil {
			return err
		}
	}
	return nil
}
