//go:build linux

package main

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"capstan/pkg/logtest"
	"capstan/pkg/netns"
	"capstan/pkg/netns/netnstest"
	"capstan/pkg/rpcap"
)

// namespace returns a namespace that has loopback only.
func namespace(t *testing.T) *netns.NS {
	t.Helper()
	netnstest.RequireCapture(t)
	return netnstest.New(t)
}

// expectRefusal logs in as nobody and expects an ERROR.
func expectRefusal(t *testing.T, n *netns.NS, code uint16, text string) {
	t.Helper()
	conn, err := n.DialContext(t.Context(), "tcp", "127.0.0.1:2002")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := conn.Write(rpcap.Append(nil, &rpcap.AuthRequest{})); err != nil {
		t.Fatal(err)
	}
	h, body, err := rpcap.NewReader(conn, nil).Next()
	if err != nil || h.Type != rpcap.TypeError || h.Value != code || !strings.HasPrefix(string(body), text) {
		t.Errorf("%v %q, %v, want code %d %q", h, body, err, code, text)
	}
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// listFrom lists the interfaces and hangs up.
func listFrom(t *testing.T, c *client) {
	t.Helper()
	c.call(&rpcap.FindAllIfRequest{}, &rpcap.FindAllIfReply{})
	c.conn.Close()
}

// Scripts wait for the line, which serve does.
func TestCase109ConsoleLine(t *testing.T) {
	n := namespace(t)
	s := serve(t, n, "-n")
	listFrom(t, tcpClient(t, n, "127.0.0.1")) // the line is true
	s.stop()
}

func TestPortsTaken(t *testing.T) {
	t.Run("C107 on every address", func(t *testing.T) {
		n := namespace(t)
		for _, network := range []string{"tcp4", "tcp6"} {
			l, err := n.Listen(network, map[string]string{"tcp4": "0.0.0.0:2002", "tcp6": "[::]:2002"}[network])
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
		}
		out, status := outcome(t, n, command())
		if status != exitFailed || strings.Count(out, "rpcapd: warning: Can't listen on socket for ") != 2 ||
			!strings.HasSuffix(out, "rpcapd: error: Can't listen on any address\n") {
			t.Errorf("status %d: %s", status, out)
		}
	})
	t.Run("C108 on IPv6 only", func(t *testing.T) {
		n := namespace(t)
		l, err := n.Listen("tcp6", "[::]:2002")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		s := serve(t, n, "-n")
		listFrom(t, tcpClient(t, n, "127.0.0.1"))
		s.stop()
		if out := s.stderr.String(); !strings.Contains(out, "rpcapd: warning: Can't listen on socket for :::2002") {
			t.Error(out)
		}
	})
}

// A daemon that fails after it began to listen leaves no socket behind.
func TestFailedStartRemovesSocket(t *testing.T) {
	n := namespace(t)
	path := filepath.Join(t.TempDir(), "s")
	out, status := outcome(t, n, command("--unix-socket", path, "--pid-file", "/proc/none"))
	if status != exitFailed || !strings.Contains(out, "pid file") {
		t.Errorf("status %d: %s", status, out)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket: %v", err)
	}
}

// outcome runs a command that shall end by itself, and returns what it wrote.
func outcome(t *testing.T, n *netns.NS, cmd *exec.Cmd) (output string, status int) {
	t.Helper()
	var b bytes.Buffer
	cmd.Stdout, cmd.Stderr = &b, &b
	if err := n.Start(cmd); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	if err := cmd.Wait(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return b.String(), cmd.ProcessState.ExitCode()
}

func TestConfigurationFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	t.Run("C110 saved", func(t *testing.T) {
		n := namespace(t)
		s := serve(t, n, "-s", path, "-l", "a,b", "-a", "127.0.0.1,9,127.0.0.1", "-n", "-p", "2010")
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{"PassiveClient = a", "PassiveClient = b", "ActiveClient = 127.0.0.1, 9", "ActiveClient = 127.0.0.1, 2003", "NullAuthPermit = YES"} {
			if !strings.Contains(string(text), "\n"+line+"\n") {
				t.Errorf("no line %q in:\n%s", line, text)
			}
		}
		s.stop()
	})
	write := func(t *testing.T, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("C111 loaded", func(t *testing.T) {
		n := namespace(t)
		// -l counts no more, -b and -n do.
		write(t, "PassiveClient = 127.0.0.1\n")
		s := serve(t, n, "-f", path, "-l", "192.0.2.1", "-n", "-b", "127.0.0.1")
		listFrom(t, tcpClient(t, n, "127.0.0.1"))
		if conn, err := n.DialContext(t.Context(), "tcp", "[::1]:2002"); err == nil {
			conn.Close()
			t.Error("listens beyond -b")
		}
		s.stop()
	})
	t.Run("C116 read again", func(t *testing.T) {
		n := namespace(t)
		write(t, "NullAuthPermit = YES\n")
		s := serve(t, n, "-f", path)
		before := tcpClient(t, n, "127.0.0.1")
		hangup := func(text, wait string) {
			t.Helper()
			write(t, text)
			if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			eventually(t, wait, func() bool { return strings.Contains(s.stderr.String(), wait) })
		}
		hangup("PassiveClient = 192.0.2.1\nNonsense = 1\n", "rpcapd: configuration read again file="+path)
		expectRefusal(t, n, 10, "The host is not in the allowed host list. Connection refused.")
		before.call(&rpcap.FindAllIfRequest{}, &rpcap.FindAllIfReply{})
		if want := "rpcapd: error: " + path + ", line 2 has an unknown parameter Nonsense\n"; !strings.Contains(s.stderr.String(), want) {
			t.Errorf("no %q in %s", want, s.stderr.String())
		}
		hangup("PassiveClient = 127.0.0.1\nOther = 1\n", "unknown parameter Other")
		// Null authentication stays permitted.
		eventually(t, "the new list", func() bool { return strings.Count(s.stderr.String(), "read again") == 2 })
		listFrom(t, tcpClient(t, n, "127.0.0.1"))
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		eventually(t, "an error", func() bool { return strings.Contains(s.stderr.String(), "error: the configuration file is not read") })
		listFrom(t, tcpClient(t, n, "127.0.0.1"))
		before.call(&rpcap.FindAllIfRequest{}, &rpcap.FindAllIfReply{})
		s.stop()
	})
	t.Run("C113 mistakes don't count", func(t *testing.T) {
		n := namespace(t)
		write(t, "\tPassiveClient = 127.0.0.1\r\n# c\r\nUnknown = 1\r\nNullAuthPermit = yes\r\n")
		s := serve(t, n, "-n", "-f", path)
		expectRefusal(t, n, 18, "Authentication failed; NULL authentication not permitted.")
		s.stop()
	})
}

// -v works together with -a: the daemon stays, dials, and listens
// nowhere.
func TestCase118ActiveOnly(t *testing.T) {
	n := namespace(t)
	l, err := n.Listen("tcp4", "127.0.0.1:2003")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := serve(t, n, "-v", "-n", "-a", "127.0.0.1")
	_ = l.(*net.TCPListener).SetDeadline(time.Now().Add(20 * time.Second))
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	listFrom(t, newClient(t, func(uint16) net.Conn { return conn }))
	if conn, err := n.DialContext(t.Context(), "tcp", "127.0.0.1:2002"); err == nil {
		conn.Close()
		t.Error("listens")
	}
	s.stop()
}

// SIGTERM ends the daemon and its sessions, and nobody else in its
// process group; the script goes on.
func TestCase124TerminateInScript(t *testing.T) {
	n := namespace(t)
	script := command()
	script.Path, script.Args = "/bin/sh", []string{"sh", "-c", `sleep 60 & sibling=$!; "$0" -n & daemon=$!
read line; kill $daemon; wait $daemon; echo "status $?"; kill $sibling && echo "sibling lives"`, os.Args[0]}
	script.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := script.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out logtest.Buffer
	script.Stdout, script.Stderr = &out, &out
	if err := n.Start(script); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(-script.Process.Pid, syscall.SIGKILL) }() // of tests that failed
	eventually(t, "the console line", func() bool { return strings.Contains(out.String(), "Press CTRL + C to stop the server...\n") })
	c := tcpClient(t, n, "127.0.0.1")
	if _, err := io.WriteString(stdin, "now\n"); err != nil {
		t.Fatal(err)
	}
	if err := script.Wait(); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
	if !strings.HasSuffix(out.String(), "status 0\nsibling lives\n") {
		t.Error(out.String())
	}
	if _, _, err := c.r.Next(); err != io.EOF {
		t.Errorf("the session: %v", err)
	}
}

// connectedPair returns a connection and the file of its other end.
func connectedPair(t *testing.T) (net.Conn, *os.File) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	other, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	file, err := other.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	return conn, file
}

// As inetd starts it, with the connection as standard input, output and
// error.
func TestCase123Inetd(t *testing.T) {
	netnstest.RequireCapture(t)
	conn, file := connectedPair(t)
	cmd := command("-i", "-n", "-b", "192.0.2.1", "-l", "127.0.0.1", "-a", "192.0.2.1", "-D")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = file, file, file
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }() // of tests that failed
	file.Close()
	c := newClient(t, func(uint16) net.Conn { return conn })
	c.call(&rpcap.FindAllIfRequest{}, &rpcap.FindAllIfReply{})
	if _, err := conn.Write(rpcap.Append(nil, &rpcap.Close{})); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(conn); len(rest) > 0 || err != nil {
		t.Errorf("after CLOSE: %q, %v", rest, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// Standard input that is no connection is an error, which nothing but the
// system's log tells.
func TestInetdWithoutConnection(t *testing.T) {
	netnstest.RequireCapture(t)
	for name, stdin := range map[string]func(t *testing.T) *os.File{
		"no socket": func(t *testing.T) *os.File {
			f, err := os.Open(os.DevNull)
			if err != nil {
				t.Fatal(err)
			}
			return f
		},
		"listening": func(t *testing.T) *os.File {
			l, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			f, err := l.(*net.TCPListener).File()
			if err != nil {
				t.Fatal(err)
			}
			return f
		},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := command("-i")
			cmd.Stdin = stdin(t)
			defer cmd.Stdin.(*os.File).Close()
			if out, err := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != exitFailed || len(out) > 0 {
				t.Errorf("%v, %q", err, out)
			}
		})
	}
}

// A client that ends the service's session by SIGTERM to it.
func TestInetdTerminates(t *testing.T) {
	netnstest.RequireCapture(t)
	conn, file := connectedPair(t)
	cmd := command("-i", "-n")
	cmd.Stdin = file
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	file.Close()
	newClient(t, func(uint16) net.Conn { return conn })
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// Sockets that a service manager passes (sd_listen_fds(3)) are listened on, and
// no others.
func TestListensOnPassedSockets(t *testing.T) {
	n := namespace(t)
	tcp, err := n.Listen("tcp4", "127.0.0.1:2999")
	if err != nil {
		t.Fatal(err)
	}
	path := socketPath(t)
	unix, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	unix.(*net.UnixListener).SetUnlinkOnClose(false)
	start := func(listeners ...interface{ File() (*os.File, error) }) *exec.Cmd {
		// The variable holds the process's own number, which only a shell that
		// turns into the program can know before.
		cmd := command()
		cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", `LISTEN_PID=$$ exec "$0" -n -p 2998`, os.Args[0]}
		cmd.Env = append(cmd.Env, "LISTEN_FDS="+strconv.Itoa(len(listeners)), "LISTEN_FDNAMES=first:second")
		for _, l := range listeners {
			f, err := l.File()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { f.Close() })
			cmd.ExtraFiles = append(cmd.ExtraFiles, f)
		}
		return cmd
	}
	cmd := start(tcp.(*net.TCPListener), unix.(*net.UnixListener))
	tcp.Close()
	unix.Close()
	s := serveCommand(t, n, cmd)
	listFrom(t, newClient(t, func(uint16) net.Conn {
		conn, err := n.DialContext(t.Context(), "tcp", "127.0.0.1:2999")
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}))
	c := unixClient(t, path)
	stream := c.capture("lo", 100, everything)
	c.end(stream)
	for _, port := range []string{"2998", "2002"} {
		if conn, err := n.DialContext(t.Context(), "tcp", "127.0.0.1:"+port); err == nil {
			conn.Close()
			t.Errorf("listens on %s too", port)
		}
	}
	s.stop()

	conn, file := connectedPair(t)
	conn.Close()
	defer file.Close()
	if out, status := outcome(t, n, start(fileHolder{file})); status != exitFailed || !strings.Contains(out, "socket first of the service manager") {
		t.Errorf("a connection: status %d, %s", status, out)
	}
}

type fileHolder struct{ f *os.File }

func (h fileHolder) File() (*os.File, error) {
	fd, err := syscall.Dup(int(h.f.Fd()))
	return os.NewFile(uintptr(fd), "connection"), err
}

func TestBackground(t *testing.T) {
	n := namespace(t)
	dir := t.TempDir()
	pidFile := filepath.Join(dir, "pid")
	if err := os.WriteFile(filepath.Join(dir, "conf"), []byte("NullAuthPermit = YES\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := command("-d", "-f", "conf", "--pid-file", pidFile)
	cmd.Dir = dir
	// The output is read to its end: a daemon that held on to it would block
	// whoever started it.
	if out, status := outcome(t, n, cmd); status != exitDone {
		t.Fatalf("status %d: %s", status, out)
	}
	text, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid == cmd.Process.Pid {
		t.Fatalf("pid file: %q, %v", text, err)
	}
	ended := false
	defer func() {
		if !ended {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}()
	// It serves as soon as its starter has exited, in a session of its own.
	c := tcpClient(t, n, "127.0.0.1")
	if sid, err := sessionOf(pid); err != nil || sid != pid {
		t.Errorf("session %d of process %d, %v", sid, pid, err)
	}
	// The path of -f still means the same.
	if err := os.WriteFile(filepath.Join(dir, "conf"), []byte("NullAuthPermit = NO\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the file is read again", func() bool {
		conn, err := n.DialContext(t.Context(), "tcp", "127.0.0.1:2002")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = conn.Write(rpcap.Append(nil, &rpcap.AuthRequest{}))
		h, _, err := rpcap.NewReader(conn, nil).Next()
		return err == nil && h.Type == rpcap.TypeError
	})
	c.call(&rpcap.FindAllIfRequest{}, &rpcap.FindAllIfReply{})
	// A second one fails, and who starts it is told.
	if out, status := outcome(t, n, command("-d")); status != exitFailed || !strings.Contains(out, "Can't listen on any address") {
		t.Errorf("status %d: %s", status, out)
	}
	ended = true
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the daemon ends", func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) || isZombie(pid) })
	if _, err := os.Stat(pidFile); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the pid file: %v", err)
	}
}

// stat returns the fields of /proc/PID/stat from the state on (proc(5)).
func stat(pid int) ([]string, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return nil, err
	}
	return strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:])), nil
}

func sessionOf(pid int) (int, error) {
	fields, err := stat(pid)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(fields[3])
}

// isZombie tells a process that has ended and that nobody has waited for; in a
// container there may be nobody who does.
func isZombie(pid int) bool {
	fields, err := stat(pid)
	return err == nil && fields[0] == "Z"
}
