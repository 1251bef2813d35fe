//go:build linux

package daemon

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"capstan/pkg/rpcap"
	"capstan/rpcapd/internal/config"
	"capstan/rpcapd/internal/metrics"
)

// dialFrom connects from one of the addresses of loopback, which count as hosts
// of their own.
func (d *testDaemon) dialFrom(t *testing.T, source string) *client {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	conn, err := dialer.DialContext(t.Context(), "tcp", d.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	return &client{t, conn, rpcap.NewReader(conn, nil)}
}

func TestOneHostCannotTakeAllSessions(t *testing.T) {
	d := serve(t, "--max-sessions", "4", "--max-sessions-per-host", "2")
	a, b := d.dialFrom(t, "127.0.0.2").auth(), d.dialFrom(t, "127.0.0.2").auth()
	c := d.dialFrom(t, "127.0.0.2")
	c.send(&rpcap.AuthRequest{})
	if h, body := c.receive(); h.Value != 1 || string(body) != "Too many sessions from this host" {
		t.Errorf("%v %q", h, body)
	}
	d.dialFrom(t, "127.0.0.3").auth().call(&rpcap.FindAllIfRequest{})
	a.call(&rpcap.FindAllIfRequest{})
	b.call(&rpcap.FindAllIfRequest{})
	if s := d.Snapshot(); s.Refused[metrics.RefusedHostFull] != 1 || s.Refused[metrics.RefusedFull] != 0 {
		t.Errorf("%v", s.Refused)
	}
}

// A host that opens silent connections without end pushes out its own, not the
// one that is about to log in from elsewhere.
func TestSilentHostPushesOutItsOwn(t *testing.T) {
	d := serve(t, "--max-sessions", "4", "--max-sessions-per-host", "3")
	honest := d.dialFrom(t, "127.0.0.3")
	waitFor(t, func() bool { return d.Snapshot().Sessions == 1 })
	for range 50 {
		d.dialFrom(t, "127.0.0.2")
	}
	for range 50 {
		d.dialFrom(t, "127.0.0.4") // the total is full: who has most has to go
	}
	waitFor(t, func() bool { return d.Snapshot().SessionsTotal == 101 })
	honest.auth().call(&rpcap.FindAllIfRequest{})
}

func TestHostOf(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.1":            "192.0.2.1/32",
		"::ffff:192.0.2.1":     "192.0.2.1/32",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64",
		"fe80::1%lo":           "fe80::/64",
	} {
		a, err := net.ResolveTCPAddr("tcp", net.JoinHostPort(address, "1"))
		if err != nil {
			t.Fatal(err)
		}
		if got := hostOf(remote{a: a}); got.String() != want {
			t.Errorf("%s: %v, want %s", address, got, want)
		}
	}
	if got := hostOf(remote{a: &net.UnixAddr{}}); got.IsValid() {
		t.Errorf("a unix socket has host %v", got)
	}
}

type remote struct {
	net.Conn
	a net.Addr
}

func (r remote) RemoteAddr() net.Addr { return r.a }

// New settings judge the connections that come, not those that are there.
func TestCase116ApplyJudgesNewConnections(t *testing.T) {
	d := serve(t, "-l", "127.0.0.0/8")
	before := d.dial(t).auth()
	apply := func(text string) {
		file, problems, err := config.ReadFile(strings.NewReader(text), "f")
		if err != nil || len(problems) > 0 {
			t.Fatal(err, problems)
		}
		s := config.Settings{NullAuth: true}
		s.Apply(file)
		d.Apply(s)
	}
	apply("PassiveClient = 192.0.2.1\n")
	c := d.dial(t)
	c.send(&rpcap.AuthRequest{})
	if h, body := c.receive(); h.Value != 10 {
		t.Errorf("%v %q", h, body)
	}
	before.call(&rpcap.FindAllIfRequest{})
	apply("NullAuthPermit = NO\n")
	c = d.dial(t)
	c.send(&rpcap.AuthRequest{})
	if h, body := c.receive(); h.Value != 18 {
		t.Errorf("%v %q", h, body)
	}
	apply("")
	d.dial(t).auth()
	before.call(&rpcap.FindAllIfRequest{})
}

// All captures use one data port; those of one host take turns.
func TestCase076FixedDataPort(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	d := serve(t, "-t", port)
	for range 2 { // one after the other
		c := d.dial(t).auth()
		data := d.capture(c)
		if _, got, _ := net.SplitHostPort(data.RemoteAddr().String()); got != port {
			t.Errorf("data port %s, want %s", got, port)
		}
		d.host.last().Push(frame(60))
		readFrames(t, data, 1)
		c.call(&rpcap.EndCapRequest{})
	}
	// At the same time: the second client is answered when the first has
	// connected.
	start := func() *client {
		c := d.dial(t).auth()
		c.call(&rpcap.OpenRequest{Device: "eth0"})
		c.send(&rpcap.StartCapRequest{Filter: []rpcap.Instruction{{Op: 6, K: 262144}}})
		return c
	}
	first := start()
	first.receive()
	second := start()
	connect := func() net.Conn {
		conn, err := net.Dial("tcp4", "127.0.0.1:"+port)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	connect()
	if h, body := second.receive(); h.Type != rpcap.TypeStartCapReply {
		t.Errorf("%v %q", h, body)
	}
	connect()
	first.call(&rpcap.EndCapRequest{})
	second.call(&rpcap.EndCapRequest{})
	// A client that hangs up while it waits for its turn is forgotten at once.
	third := start()
	third.receive()
	start().conn.Close()
	connect()
	third.call(&rpcap.EndCapRequest{})
	last := start()
	last.receive()
	connect()
	last.call(&rpcap.EndCapRequest{})
}

// slowResolver answers nobody; it tells why it was not waited for any longer.
type slowResolver struct{ ended chan error }

func (r slowResolver) LookupNetIP(ctx context.Context, _, _ string) ([]netip.Addr, error) {
	<-ctx.Done()
	r.ended <- ctx.Err()
	return nil, ctx.Err()
}

// A connection that has to make room leaves nothing that still waits for the
// name service: there is no limit to how many come.
func TestEvictedConnectionStopsLookups(t *testing.T) {
	slow := slowResolver{make(chan error, 10)}
	d := serveWith(t, slow, "--max-sessions", "1", "-l", "slow.example")
	d.dial(t)
	waitFor(t, func() bool { return d.Snapshot().SessionsTotal == 1 })
	d.dial(t)
	if err := <-slow.ended; err != context.Canceled {
		t.Error(err)
	}
	d.stop()
	if s := d.Snapshot(); s.Refused[metrics.RefusedFull] != 1 || s.Refused[metrics.RefusedHost] != 0 {
		t.Errorf("%v", s.Refused)
	}
	if log := d.log.String(); strings.Contains(log, "list error") {
		t.Error(log)
	}
}
