package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/spf13/cobra"
)

// dockerContext is a named way to a daemon. `vagrant up` writes one that leads
// into its virtual machine.
type dockerContext struct {
	Name        string
	Description string `json:",omitempty"`
	Host        string // unix://, tcp:// or ssh://
	SSHConfig   string `json:",omitempty"` // ssh's configuration file for an ssh:// host, in place of the user's own
}

// defaultContext is the name of the host that DRYDOCK_HOST or this system gives.
const defaultContext = "default"

// configDir holds what a user has chosen: contexts/NAME.json, and config.json
// with the name of the current one.
func configDir() (string, error) {
	if dir := os.Getenv("DRYDOCK_CONFIG"); dir != "" {
		return dir, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find the configuration: %w; set DRYDOCK_CONFIG to a directory", err)
	}
	return filepath.Join(home, ".drydock"), nil
}

// contextName is the form of a name, as docker has it. It is a file's name, too.
var contextName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$`)

func contextFile(name string) (string, error) {
	if !contextName.MatchString(name) {
		return "", fmt.Errorf("context name %q: want letters, digits and _.+-, two at least, and none of the last three first: %w", name, errdefs.ErrInvalidArgument)
	}
	dir, err := configDir()
	return filepath.Join(dir, "contexts", name+".json"), err
}

// loadContext returns errdefs.ErrNotFound where nobody has made it.
func loadContext(name string) (dockerContext, error) {
	file, err := contextFile(name)
	if err != nil {
		return dockerContext{}, err
	}
	var d dockerContext
	if err := readJSON(file, &d); errors.Is(err, fs.ErrNotExist) {
		return d, fmt.Errorf("context %q does not exist; `drydock context ls` shows those that do: %w", name, errdefs.ErrNotFound)
	} else if err != nil {
		return d, err
	}
	d.Name = name
	return d, nil
}

// choices is the user's config.json.
type choices struct {
	CurrentContext string `json:"currentContext"`
}

// currentContext is the name that --context, DRYDOCK_CONTEXT or `context use`
// gives; -H and DRYDOCK_HOST come before it.
func (c *cli) currentContext() (string, error) {
	if c.host != "" || c.context == "" && os.Getenv("DRYDOCK_HOST") != "" {
		return defaultContext, nil
	}
	if c.context != "" {
		return c.context, nil
	}
	if name := os.Getenv("DRYDOCK_CONTEXT"); name != "" {
		return name, nil
	}
	dir, err := configDir()
	if err != nil {
		return defaultContext, nil // no home: nobody has chosen
	}
	chosen := choices{CurrentContext: defaultContext}
	err = readJSON(filepath.Join(dir, "config.json"), &chosen)
	// A home that belongs to somebody else, as after sudo -u, holds no choice of this user's.
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
		return "", err
	}
	return chosen.CurrentContext, nil
}

func readJSON(file string, v any) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("read %s: %w; mend it or remove it", file, err)
	}
	return nil
}

// writeJSON leaves the old file or the new one.
func writeJSON(file string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	tmp := file + ".tmp"
	if err := os.WriteFile(tmp, append(text, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, file)
}

func (c *cli) contextCommand() *cobra.Command {
	return group("context", "Manage contexts",
		c.contextCreateCommand(), c.contextInspectCommand(), c.contextLsCommand(), c.contextRmCommand(), c.contextShowCommand(), c.contextUseCommand())
}

func (c *cli) contextCreateCommand() *cobra.Command {
	var d dockerContext
	var endpoint map[string]string
	cmd := &cobra.Command{
		Use:   "create [OPTIONS] CONTEXT",
		Short: "Create a context",
		Args:  exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for key, value := range endpoint {
				switch key {
				case "host":
					d.Host = value
				case "ssh-config":
					d.SSHConfig = value
				default:
					return fmt.Errorf("--docker %s=%s: want host=unix:///PATH, tcp://… or ssh://…, and ssh-config=FILE", key, value)
				}
			}
			if d.Host == "" {
				return errors.New("--docker host=… is missing: where is the daemon?")
			}
			if strings.HasPrefix(d.Host, "ssh://") {
				if _, err := parseSSH(d.Host); err != nil {
					return err
				}
			}
			file, err := contextFile(args[0])
			if err != nil {
				return err
			}
			if _, err := os.Lstat(file); err == nil || args[0] == defaultContext {
				return fmt.Errorf("context %q already exists: %w", args[0], errdefs.ErrAlreadyExists)
			}
			d.Name = args[0]
			if err := writeJSON(file, d); err != nil {
				return err
			}
			fmt.Fprintln(c.out, d.Name)
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&d.Description, "description", "", "Description of the context")
	flags.StringToStringVar(&endpoint, "docker", nil, "Set the endpoint: `host=`ssh://USER@HOST, and ssh-config=FILE where ssh shall not read the user's own")
	return cmd
}

func (c *cli) contextUseCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "use CONTEXT",
		Short: "Set the current context",
		Args:  exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[0] != defaultContext {
				if _, err := loadContext(args[0]); err != nil {
					return err
				}
			}
			dir, err := configDir()
			if err != nil {
				return err
			}
			if err := writeJSON(filepath.Join(dir, "config.json"), choices{args[0]}); err != nil {
				return err
			}
			fmt.Fprintf(c.out, "%s\nCurrent context is now %q\n", args[0], args[0])
			if host := os.Getenv("DRYDOCK_HOST"); host != "" {
				fmt.Fprintf(c.err, "Warning: DRYDOCK_HOST=%s is set and comes before the context; unset it to use %q\n", host, args[0])
			}
			return nil
		},
	}
}

func (c *cli) contextShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show",
		Short: "Print the name of the current context",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			name, err := c.currentContext()
			if err != nil {
				return err
			}
			fmt.Fprintln(c.out, name)
			return nil
		},
	}
}

func (c *cli) contextRmCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "rm CONTEXT [CONTEXT...]",
		Aliases: []string{"remove"},
		Short:   "Remove one or more contexts",
		Args:    atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			current, err := c.currentContext()
			if err != nil {
				return err
			}
			return failure(c.each(args, func(name string) error {
				switch name {
				case defaultContext:
					return errors.New(`context "default" cannot be removed`)
				case current:
					return fmt.Errorf("context %q is in use; `drydock context use default` first", name)
				}
				if _, err := loadContext(name); err != nil {
					return err
				}
				file, err := contextFile(name)
				if err != nil {
					return err
				}
				return os.Remove(file)
			}))
		},
	}
}

func (c *cli) contextLsCommand() *cobra.Command {
	var quiet bool
	cmd := &cobra.Command{
		Use:     "ls [OPTIONS]",
		Aliases: []string{"list"},
		Short:   "List contexts",
		Args:    exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			current, err := c.currentContext()
			if err != nil {
				return err
			}
			all, err := c.contexts()
			if err != nil {
				return err
			}
			var rows []string
			for _, d := range all {
				mark := ""
				if d.Name == current {
					mark = " *"
				}
				if quiet {
					fmt.Fprintln(c.out, d.Name)
					continue
				}
				rows = append(rows, fmt.Sprintf("%s%s\t%s\t%s", d.Name, mark, d.Description, d.Host))
			}
			if quiet {
				return nil
			}
			return c.table("NAME\tDESCRIPTION\tDOCKER ENDPOINT", rows)
		},
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "Only show context names")
	return cmd
}

// contexts returns the default one and those that were made, by name.
func (c *cli) contexts() ([]dockerContext, error) {
	all := []dockerContext{{Name: defaultContext, Description: "The daemon of this system, or of DRYDOCK_HOST", Host: c.defaultHost()}}
	dir, err := configDir()
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(dir, "contexts", "*.json"))
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	for _, file := range files {
		d, err := loadContext(strings.TrimSuffix(filepath.Base(file), ".json"))
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, nil
}

func (c *cli) contextInspectCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "inspect [CONTEXT...]",
		Short: "Display detailed information on one or more contexts",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				current, err := c.currentContext()
				if err != nil {
					return err
				}
				args = []string{current}
			}
			var found []dockerContext
			for _, name := range args {
				d := dockerContext{Name: defaultContext, Host: c.defaultHost()}
				if name != defaultContext {
					var err error
					if d, err = loadContext(name); err != nil {
						return err
					}
				}
				found = append(found, d)
			}
			text, err := json.MarshalIndent(found, "", "    ")
			if err != nil {
				return err
			}
			fmt.Fprintln(c.out, string(text))
			return nil
		},
	}
}
