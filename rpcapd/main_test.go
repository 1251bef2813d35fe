//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"capstan/pkg/logtest"
	"capstan/pkg/netns"
	"capstan/pkg/netns/netnstest"
	"capstan/pkg/rpcap"
	"capstan/rpcapd/internal/config"
)

// The test binary is the daemon when it finds the first variable, with no other
// capabilities than those listed by number if it finds the second.
const (
	roleVariable         = "RPCAPD_TEST_ROLE"
	roleDaemon           = "daemon"
	capabilitiesVariable = "RPCAPD_TEST_CAPABILITIES"
)

func TestMain(m *testing.M) {
	if list, ok := os.LookupEnv(capabilitiesVariable); ok {
		fmt.Fprintln(os.Stderr, weaken(list))
		os.Exit(99)
	}
	if os.Getenv(roleVariable) == roleDaemon {
		main()
	}
	os.Exit(m.Run())
}

// weaken starts this program again as a process that has only the capabilities
// listed. It returns if that fails.
func weaken(list string) error {
	var keep [64]bool
	for _, number := range strings.Fields(list) {
		n, err := strconv.Atoi(number)
		if err != nil {
			return err
		}
		keep[n] = true
	}
	runtime.LockOSThread() // capabilities belong to threads
	for n := range keep {
		if keep[n] {
			continue
		}
		// EINVAL: this kernel has fewer.
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(n), 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
			return os.NewSyscallError("prctl", err)
		}
	}
	if err := os.Unsetenv(capabilitiesVariable); err != nil {
		return err
	}
	// With exec, root gets what the bounding set has left.
	return os.NewSyscallError("execve", syscall.Exec("/proc/self/exe", os.Args, os.Environ()))
}

func command(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+roleDaemon)
	return cmd
}

// weakCommand is command without capabilities but those given.
func weakCommand(capabilities []int, args ...string) *exec.Cmd {
	cmd := command(args...)
	cmd.Env = append(cmd.Env, capabilitiesVariable+"="+strings.Trim(fmt.Sprint(capabilities), "[]"))
	return cmd
}

func TestCommandLine(t *testing.T) {
	for _, tc := range []struct {
		name           string
		args           []string
		code           int
		stdout, stderr string // what must be in them; "" is nothing at all
	}{
		{"C103 help", []string{"-h"}, 0, config.Usage, ""},
		{"help bundled", []string{"-nh"}, 0, config.Usage, ""},
		{"version", []string{"--version"}, 0, "rpcapd ", ""},
		{"C104 bad option", []string{"-Z"}, 1, "", "rpcapd: invalid option -- 'Z'\n"},
		{"C104 argument missing", []string{"-p"}, 1, "", "rpcapd: option requires an argument -- 'p'\n"},
		{"C105 background and inetd", []string{"-d", "-i"}, 1, "", "rpcapd: -d and -i can't be used together\n"},
		{"several mistakes", []string{"--ring-size", "1", "--max-sessions=0", "-l", "10.0.0.0/99"}, 1, "", "--max-sessions 0"},
		{"unknown port", []string{"-p", "no-such-service"}, 2, "", "no-such-service"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.code == exitFailed {
				netnstest.RequireCapture(t)
			}
			var stdout, stderr bytes.Buffer
			if code := run(context.Background(), tc.args, &stdout, &stderr); code != tc.code {
				t.Errorf("exit code %d, want %d", code, tc.code)
			}
			for _, o := range []struct{ name, got, want string }{{"stdout", stdout.String(), tc.stdout}, {"stderr", stderr.String(), tc.stderr}} {
				if o.want == "" && o.got != "" || !strings.Contains(o.got, o.want) {
					t.Errorf("%s: %q, want %q", o.name, o.got, o.want)
				}
			}
		})
	}
}

// A process without capabilities says what is missing and how to get it.
func TestMissingCapabilities(t *testing.T) {
	netnstest.RequireCapture(t)
	cmd := weakCommand(nil)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
	if code := cmd.ProcessState.ExitCode(); code != exitFailed {
		t.Errorf("exit code %d, %v", code, err)
	}
	lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
	if len(lines) != 1 || !strings.Contains(lines[0], "CAP_NET_RAW (to open packet sockets") || !strings.Contains(lines[0], "CAP_BPF (to load") {
		t.Errorf("stderr: %s", stderr.String())
	}
	for _, how := range []string{"setcap", "AmbientCapabilities", "securityContext"} {
		if !strings.Contains(lines[0], how) {
			t.Errorf("nothing about %s: %s", how, lines[0])
		}
	}
}

// server is a daemon process in a namespace.
type server struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdout *bufio.Reader
	stderr logtest.Buffer
}

// serve starts a daemon in n and waits until it is ready.
func serve(t *testing.T, n *netns.NS, args ...string) *server {
	t.Helper()
	return serveCommand(t, n, command(args...))
}

func serveCommand(t *testing.T, n *netns.NS, cmd *exec.Cmd) *server {
	t.Helper()
	s := &server{t: t, cmd: cmd}
	pipe, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Stderr = &s.stderr
	if err := n.Start(s.cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.cmd.Process.Kill() }) // of tests that failed
	s.stdout = bufio.NewReader(pipe)
	if line, err := s.stdout.ReadString('\n'); line != "Press CTRL + C to stop the server...\n" {
		_ = s.cmd.Wait()
		t.Fatalf("daemon says %q, %v\n%s", line, err, s.stderr.String())
	}
	return s
}

// stop ends the daemon as a supervisor does and returns its summary.
func (s *server) stop() summaryLine {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	rest, _ := io.ReadAll(s.stdout)
	if err := s.cmd.Wait(); err != nil {
		s.t.Fatalf("daemon: %v\n%s", err, s.stderr.String())
	}
	var l summaryLine
	if _, err := fmt.Sscanf(string(rest), "%d frames seen, %d matched, %d excluded, %d filtered, %d left out by sampling, %d dropped by the kernel, %d sent, %d undelivered; %d sessions\n",
		&l.seen, &l.matched, &l.excluded, &l.filtered, &l.sampled, &l.dropped, &l.sent, &l.undelivered, &l.sessions); err != nil {
		s.t.Fatalf("summary %q: %v", rest, err)
	}
	if l.seen != l.excluded+l.filtered+l.sampled+l.dropped+l.matched || l.matched != l.sent+l.undelivered {
		s.t.Errorf("the summary does not balance: %+v", l)
	}
	return l
}

type summaryLine struct{ seen, matched, excluded, filtered, sampled, dropped, sent, undelivered, sessions int }

// client is a bare RPCAP client.
type client struct {
	t    *testing.T
	dial func(port uint16) net.Conn // port 0: the control connection
	conn net.Conn
	r    *rpcap.Reader

	flags rpcap.StartCapFlags // of captures
}

func newClient(t *testing.T, dial func(port uint16) net.Conn) *client {
	t.Helper()
	c := &client{t: t, dial: dial, conn: dial(0)}
	t.Cleanup(func() { c.conn.Close() })
	_ = c.conn.SetDeadline(time.Now().Add(time.Minute))
	c.r = rpcap.NewReader(c.conn, nil)
	c.call(&rpcap.AuthRequest{}, &rpcap.AuthReply{})
	return c
}

func tcpClient(t *testing.T, n *netns.NS, address string) *client {
	return newClient(t, func(port uint16) net.Conn {
		if port == 0 {
			port = rpcap.DefaultPort
		}
		conn, err := n.DialContext(t.Context(), "tcp", net.JoinHostPort(address, strconv.Itoa(int(port))))
		if err != nil {
			t.Fatal(err)
		}
		return conn
	})
}

func unixClient(t *testing.T, path string) *client {
	return newClient(t, func(port uint16) net.Conn {
		p := path
		if port != 0 {
			p += "." + strconv.Itoa(int(port))
			checkMode(t, p)
		}
		conn, err := net.Dial("unix", p)
		if err != nil {
			t.Fatal(err)
		}
		return conn
	})
}

func checkMode(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("%s: %v, %v", path, info.Mode(), err)
	}
}

// call sends a request and decodes the reply, which must be of reply's type.
func (c *client) call(request, reply rpcap.Message) {
	c.t.Helper()
	if _, err := c.conn.Write(rpcap.Append(nil, request)); err != nil {
		c.t.Fatal(err)
	}
	h, body, err := c.r.Next()
	if err != nil {
		c.t.Fatalf("%v: %v", request.Type(), err)
	}
	if h.Type != reply.Type() {
		c.t.Fatalf("%v is answered by %v: %q", request.Type(), h.Type, body)
	}
	if err := rpcap.Decode(h, body, reply); err != nil {
		c.t.Fatal(err)
	}
}

var everything = []rpcap.Instruction{{Op: 6, K: rpcap.MaxSnapLen}}

// capture opens a device and returns the packets as they come.
func (c *client) capture(device string, snapLen uint32, filter []rpcap.Instruction) *stream {
	c.t.Helper()
	c.call(&rpcap.OpenRequest{Device: device}, &rpcap.OpenReply{})
	return c.start(snapLen, filter)
}

func (c *client) start(snapLen uint32, filter []rpcap.Instruction) *stream {
	c.t.Helper()
	var reply rpcap.StartCapReply
	c.call(&rpcap.StartCapRequest{SnapLen: snapLen, Flags: c.flags, ReadTimeout: 5 * time.Millisecond, Filter: filter}, &reply)
	conn := c.dial(reply.DataPort)
	c.t.Cleanup(func() { conn.Close() })
	// The capture runs when the daemon answers the next request.
	c.call(&rpcap.StatsRequest{}, &rpcap.StatsReply{})
	s := &stream{t: c.t, done: make(chan struct{})}
	go s.read(conn) // ended by the data connection's end
	return s
}

// end ends the capture and returns all its packets and its counters.
func (c *client) end(s *stream) (packets []capturedPacket, stats rpcap.StatsReply) {
	c.t.Helper()
	c.call(&rpcap.EndCapRequest{}, &rpcap.EndCapReply{})
	<-s.done
	c.call(&rpcap.StatsRequest{}, &stats)
	return s.packets, stats
}

// settle waits until all that was captured so far is sent: when a capture ends, a
// client that is slow to read gets a second for the rest.
func (c *client) settle() {
	c.t.Helper()
	eventually(c.t, "sent", func() bool {
		var stats rpcap.StatsReply
		c.call(&rpcap.StatsRequest{}, &stats)
		return stats.Sent == stats.Received
	})
}

type capturedPacket struct {
	rpcap.PacketHeader
	data []byte
}

type stream struct {
	t       *testing.T
	packets []capturedPacket // after done
	done    chan struct{}
}

func (s *stream) read(conn net.Conn) {
	defer close(s.done)
	defer conn.Close()
	r := rpcap.NewReader(conn, nil)
	for {
		_, body, err := r.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			s.t.Errorf("data: %v", err)
			return
		}
		h, err := rpcap.ParsePacketHeader(body)
		if err != nil {
			s.t.Error(err)
			return
		}
		s.packets = append(s.packets, capturedPacket{h, bytes.Clone(body[20:])})
	}
}

// The frames of the traffic tests are Ethernet with IEEE 802's EtherType for
// local experiments, then a number.
const testEtherType = 0x88b5

var (
	broadcastMAC = []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	senderMAC    = []byte{0x02, 0, 0, 0, 0, 0x77}
)

func testFrame(number int, tag []byte) []byte {
	f := append(bytes.Clone(broadcastMAC), senderMAC...)
	f = append(f, tag...)
	f = append(f, testEtherType>>8, testEtherType&0xff, byte(number>>8), byte(number))
	return append(f, make([]byte, 60)...)
}

// testFilter accepts test frames with an even number; offset is where their
// EtherType stands.
func testFilter(offset uint32) []rpcap.Instruction {
	return []rpcap.Instruction{
		{Op: 0x28, K: offset},
		{Op: 0x15, K: testEtherType, Jf: 3},
		{Op: 0x30, K: offset + 3},
		{Op: 0x45, K: 1, Jt: 1},
		{Op: 6, K: rpcap.MaxSnapLen},
		{Op: 6, K: 0},
	}
}

// sendFrames sends raw frames out of an interface in n.
func sendFrames(t *testing.T, n *netns.NS, ifname string, frames ...[]byte) {
	t.Helper()
	index, err := n.Index(ifname)
	if err != nil {
		t.Fatal(err)
	}
	err = n.Do(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for _, f := range frames {
			if err := unix.Sendto(fd, f, 0, &unix.SockaddrLinklayer{Ifindex: index}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// isTest tells the number of a test frame whose EtherType is at offset.
func isTest(data []byte, offset int) (number int, ok bool) {
	if len(data) < offset+4 || data[offset] != testEtherType>>8 || data[offset+1] != testEtherType&0xff {
		return 0, false
	}
	return int(data[offset+2])<<8 | int(data[offset+3]), true
}

// link makes two namespaces joined by a veth pair: "cap0" in the daemon's,
// "gen0" in the peer's, with addresses 10.9.8.1 and 10.9.8.2.
func link(t *testing.T) (host, peer *netns.NS) {
	t.Helper()
	netnstest.RequireCapture(t)
	host, peer = netnstest.New(t), netnstest.New(t)
	if err := netns.Veth(host, "cap0", peer, "gen0"); err != nil {
		t.Fatal(err)
	}
	for _, a := range []struct {
		ns     *netns.NS
		ifname string
		prefix string
	}{{host, "cap0", "10.9.8.1/24"}, {peer, "gen0", "10.9.8.2/24"}, {host, "cap0", "fd09::1/64"}, {peer, "gen0", "fd09::2/64"}} {
		if err := a.ns.AddAddr(a.ifname, netip.MustParsePrefix(a.prefix)); err != nil {
			t.Fatal(err)
		}
	}
	return host, peer
}

// silence keeps kernels from sending frames of their own: what IPv6 wants to know of
// its neighbours, and tells them.
func silence(t *testing.T, namespaces ...*netns.NS) {
	t.Helper()
	for _, ns := range namespaces {
		if err := ns.Do(func() error { return os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("1"), 0) }); err != nil {
			t.Fatal(err)
		}
	}
}

func socketPath(t *testing.T) string { return filepath.Join(t.TempDir(), "s") }
