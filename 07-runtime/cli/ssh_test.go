//go:build linux

package cli_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"drydock.example/01-chroot/hosttest"
)

// sshd starts a real server on the loopback of the test's own network, and
// returns a configuration for ssh that knows it as "classroom".
func sshd(t *testing.T, path string) (config string) {
	server, err := exec.LookPath("/usr/sbin/sshd")
	if err != nil {
		t.Skip("needs the program /usr/sbin/sshd: apt-get install openssh-server")
	}
	hosttest.Require(t, hosttest.Root, hosttest.Program("ssh"), hosttest.Program("ssh-keygen"))
	cover(t, "/run") // where sshd keeps its directory
	if err := os.Mkdir("/run/sshd", 0o755); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	for _, key := range []string{"host", "user"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, key)).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	// The port is open before any server runs, so that nobody waits for it.
	listener, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	sshdConfig := write("sshd_config", fmt.Sprintf("HostKey %s/host\nAuthorizedKeysFile %s/user.pub\nStrictModes no\nPermitRootLogin yes\nPidFile none\nSetEnv PATH=%s\n", dir, dir, path))
	conns := make(chan struct{})
	go func() {
		defer close(conns)
		for {
			conn, err := listener.AcceptTCP()
			if err != nil {
				return
			}
			file, err := conn.File()
			conn.Close()
			if err != nil {
				return
			}
			// As inetd does: one server for each connection.
			cmd := exec.Command(server, "-i", "-f", sshdConfig)
			cmd.Stdin, cmd.Stdout = file, file
			err = cmd.Start()
			file.Close()
			if err == nil {
				t.Cleanup(func() { cmd.Wait() })
			}
		}
	}()
	t.Cleanup(func() { listener.Close(); <-conns })
	return write("ssh_config", fmt.Sprintf("Host classroom\n  HostName 127.0.0.1\n  Port %d\n  User root\n  IdentityFile %s/user\n  UserKnownHostsFile /dev/null\n  StrictHostKeyChecking no\n  LogLevel ERROR\n  IdentitiesOnly yes\n  ControlMaster no\n",
		listener.Addr().(*net.TCPAddr).Port, dir))
}

func TestDaemonAtTheOtherEndOfSSH(t *testing.T) {
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	config := sshd(t, bin+":"+os.Getenv("PATH"))
	hosttest.Require(t, hosttest.Overlay)
	d := running(t)
	env := append(os.Environ(), "DRYDOCK_CONFIG="+t.TempDir())
	drydock := func(stdin string, args ...string) (stdout, stderr string, err error) {
		cmd := exec.Command(filepath.Join(bin, "drydock"), args...)
		cmd.Env, cmd.Stdin = env, strings.NewReader(stdin)
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		err = cmd.Run()
		return out.String(), errs.String(), err
	}
	host := "ssh://classroom" + strings.TrimPrefix(d.host, "unix://")
	if out, errs, err := drydock("", "context", "create", "classroom", "--docker", "host="+host+",ssh-config="+config); err != nil {
		t.Fatal(out, errs, err)
	}
	if out, errs, err := drydock("", "-c", "classroom", "version"); err != nil || !strings.Contains(out, "Server:") {
		t.Errorf("version: %v\n%s%s", err, out, errs)
	}
	// Streams in both directions, the end of the input, and the exit status.
	out, errs, err := drydock("a\nb\n", "-c", "classroom", "run", "--rm", "-i", "--network", "none", "box", "sh", "-c", "cat; echo to stderr >&2; exit 7")
	var exit *exec.ExitError
	if out != "a\nb\n" || errs != "to stderr\n" || !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("run: %v, stdout %q, stderr %q", err, out, errs)
	}
	// What ssh says of a way that is closed.
	if err := os.WriteFile(config, []byte("Host classroom\n  HostName 127.0.0.1\n  Port 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, errs, err = drydock("", "-c", "classroom", "ps")
	if want := "Cannot connect to the Drydock daemon at " + host; !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(errs, want) || !strings.Contains(errs, "Connection refused") {
		t.Errorf("no server: %v\n%s", err, errs)
	}
}
