package cli

import (
	"context"
	"io"
	"net"

	"github.com/spf13/cobra"
)

// systemCommand groups what is about the engine as a whole.
func (c *cli) systemCommand() *cobra.Command {
	return group("system", "Manage Drydock", c.infoCommand(), c.dialStdioCommand())
}

// dialStdioCommand is the other side of ssh://: it joins its own streams to the
// daemon's socket, for a client on another machine.
func (c *cli) dialStdioCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "dial-stdio",
		Short:  "Proxy the stdio stream to the daemon connection",
		Args:   exactly(0),
		Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			conn, err := c.connect()
			if err != nil {
				return err
			}
			c.conn = conn
			defer conn.Close()
			stream, err := conn.Dialer()(cmd.Context())
			if err != nil {
				return err
			}
			defer stream.Close()
			return c.join(cmd.Context(), stream)
		},
	}
}

// join copies both ways until the daemon has said everything.
func (c *cli) join(ctx context.Context, stream net.Conn) error {
	stop := context.AfterFunc(ctx, func() { stream.Close() })
	defer stop()
	// Nobody waits for this one: when the daemon is done, the rest of the input is nobody's.
	go func() {
		io.Copy(stream, c.in)
		if half, ok := stream.(interface{ CloseWrite() error }); ok {
			half.CloseWrite()
		}
	}()
	_, err := io.Copy(c.out, stream)
	return err
}
