//go:build linux

package daemon

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"capstan/pkg/afpacket"
	"capstan/pkg/capture"
	"capstan/pkg/leaktest"
	"capstan/pkg/logtest"
	"capstan/pkg/rpcap"
	"capstan/rpcapd/internal/config"
	"capstan/rpcapd/internal/device"
	"capstan/rpcapd/internal/metrics"
	"capstan/rpcapd/internal/pump"
	"capstan/rpcapd/internal/pump/pumptest"
	"capstan/rpcapd/internal/session"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }

// fakeHost has one device, eth0.
type fakeHost struct {
	mu      sync.Mutex
	devices []*pumptest.Device
	mark    bool                        // devices are kept by the snap length they were opened with
	marks   map[uint32]*pumptest.Device // guarded by mu
}

func (h *fakeHost) Interfaces() ([]rpcap.Interface, error) {
	return []rpcap.Interface{{Name: "eth0", Flags: 0x16}}, nil
}

func (h *fakeHost) Probe(rpcap.Device) (capture.LinkType, error) {
	return capture.LinkTypeEthernet, nil
}

func (h *fakeHost) Open(_ rpcap.Device, o device.Options) (pump.Input, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d := &pumptest.Device{}
	if h.mark {
		if h.marks == nil {
			h.marks = map[uint32]*pumptest.Device{}
		}
		h.marks[uint32(o.SnapLen)] = d
	} else {
		h.devices = append(h.devices, d)
	}
	return d.Input(pump.LayoutEthernet), nil
}

func (h *fakeHost) last() *pumptest.Device {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.devices[len(h.devices)-1]
}

// marked returns the device that was opened with a snap length.
func (h *fakeHost) marked(snapLen uint32) *pumptest.Device {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.marks[snapLen]
}

// forget lets go of the marked devices.
func (h *fakeHost) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.marks = nil
}

type noSelf struct{}

func (noSelf) Add(netip.AddrPort) error { return nil }
func (noSelf) Release(netip.AddrPort)   {}

type testDaemon struct {
	*Daemon
	host    *fakeHost
	log     logtest.Buffer
	address string
	stop    func() // and wait
}

// serve runs a daemon on loopback until the end of the test.
func serve(t *testing.T, args ...string) *testDaemon {
	t.Helper()
	return serveWith(t, fakeResolver{}, args...)
}

func serveWith(t *testing.T, r resolver, args ...string) *testDaemon {
	t.Helper()
	cfg, err := config.Parse(append([]string{"-n", "-b", "127.0.0.1", "-p", "0"}, args...))
	if err != nil {
		t.Fatal(err)
	}
	d := &testDaemon{host: &fakeHost{}}
	d.Daemon = New(cfg, session.Config{}, d.host, noSelf{}, slog.New(slog.NewTextHandler(&d.log, nil)))
	d.resolver = r
	if err := d.UseDataPort(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := d.Listen(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	d.address = d.listeners[len(d.listeners)-1].Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Serve(ctx) }()
	d.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(30 * time.Second):
			t.Error("the daemon does not stop")
		}
	})
	t.Cleanup(d.stop)
	return d
}

type client struct {
	t    *testing.T
	conn net.Conn
	r    *rpcap.Reader
}

func (d *testDaemon) dial(t *testing.T) *client {
	t.Helper()
	conn, err := net.Dial("tcp", d.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	return &client{t, conn, rpcap.NewReader(conn, nil)}
}

func (c *client) send(m rpcap.Message) {
	c.t.Helper()
	if _, err := c.conn.Write(rpcap.Append(nil, m)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) receive() (rpcap.Header, []byte) {
	c.t.Helper()
	h, body, err := c.r.Next()
	if err != nil {
		c.t.Fatal(err)
	}
	return h, body
}

func (c *client) call(m rpcap.Message) []byte {
	c.t.Helper()
	c.send(m)
	h, body := c.receive()
	if h.Type != m.Type()|rpcap.TypeReply {
		c.t.Fatalf("%v is answered by %v %q", m.Type(), h, body)
	}
	return body
}

func (c *client) auth() *client {
	c.t.Helper()
	c.call(&rpcap.AuthRequest{})
	return c
}

// capture starts a capture and returns the data connection.
func (d *testDaemon) capture(c *client) net.Conn {
	c.t.Helper()
	c.call(&rpcap.OpenRequest{Device: "eth0"})
	body := c.call(&rpcap.StartCapRequest{Filter: []rpcap.Instruction{{Op: 6, K: 262144}}})
	port := int(body[4])<<8 | int(body[5])
	conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	c.call(&rpcap.StatsRequest{})
	return conn
}

func frame(n int) afpacket.Frame { return afpacket.Frame{Data: make([]byte, n), Len: n} }

func readFrames(t *testing.T, conn net.Conn, n int) {
	t.Helper()
	r := rpcap.NewReader(conn, nil)
	for i := range n {
		_, body, err := r.Next()
		if err != nil {
			t.Fatalf("after %d frames: %v", i, err)
		}
		if h, err := rpcap.ParsePacketHeader(body); err != nil || h.Number != uint32(i)+1 {
			t.Fatalf("frame %d: %+v, %v", i, h, err)
		}
	}
}

func TestSessionCap(t *testing.T) {
	d := serve(t, "--max-sessions", "2")
	a, b := d.dial(t).auth(), d.dial(t).auth()
	c := d.dial(t)
	c.send(&rpcap.AuthRequest{})
	if h, body := c.receive(); h.Type != rpcap.TypeError || h.Value != 1 || string(body) != "Too many sessions" {
		t.Errorf("%v %q", h, body)
	}
	if _, _, err := c.r.Next(); err != io.EOF {
		t.Errorf("after the refusal: %v", err)
	}
	a.call(&rpcap.FindAllIfRequest{})
	b.conn.Close()
	waitFor(t, func() bool { return d.Snapshot().Sessions == 1 })
	d.dial(t).auth()
	if s := d.Snapshot(); s.Refused[metrics.RefusedFull] != 1 || s.SessionsTotal != 3 {
		t.Errorf("%+v", s)
	}
}

func waitFor(t *testing.T, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not happen")
		}
	}
}

// Connections that say nothing don't keep clients out.
func TestCase125SilentConnectionsMakeRoom(t *testing.T) {
	d := serve(t, "--max-sessions", "8")
	logged := d.dial(t).auth()
	for range 200 {
		d.dial(t)
	}
	d.dial(t).auth().call(&rpcap.FindAllIfRequest{})
	logged.call(&rpcap.FindAllIfRequest{})
	if s := d.Snapshot(); s.Sessions > 8 {
		t.Errorf("%d sessions", s.Sessions)
	}
}

func TestAllowList(t *testing.T) {
	refused := func(d *testDaemon, want string) {
		t.Helper()
		c := d.dial(t)
		c.send(&rpcap.AuthRequest{})
		if h, body := c.receive(); h.Value != 10 || h.Version != 0 || string(body) != want {
			t.Errorf("%v %q", h, body)
		}
		if _, _, err := c.r.Next(); err != io.EOF {
			t.Errorf("after the refusal: %v", err)
		}
	}
	t.Run("C015 not listed", func(t *testing.T) {
		refused(serve(t, "-l", "192.0.2.1 10.0.0.0/8"), "The host is not in the allowed host list. Connection refused.")
	})
	t.Run("C016 listed", func(t *testing.T) {
		serve(t, "-l", "192.0.2.1, 127.0.0.1;10.0.0.1").dial(t).auth()
		serve(t, "-l", "192.0.2.1\n127.0.0.0/8").dial(t).auth()
	})
	t.Run("C017 name that can't be looked up", func(t *testing.T) {
		d := serve(t, "-l", "no-such.invalid")
		const text = "Allowed host list error: no such host"
		refused(d, text)
		if want := `level=ERROR msg="` + text + `"`; !strings.Contains(d.log.String(), want) {
			t.Errorf("no %q in %s", want, d.log.String())
		}
	})
	t.Run("C018 beside one that can't be looked up", func(t *testing.T) {
		serve(t, "-l", "no-such.invalid,127.0.0.1").dial(t).auth()
	})
}

// fakeResolver knows one name.
type fakeResolver struct{}

func (fakeResolver) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if host != "good.example" {
		return nil, errors.New("no such host")
	}
	return []netip.Addr{netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("2001:db8::7")}, nil
}

func TestCheckHost(t *testing.T) {
	const refused = "The host is not in the allowed host list. Connection refused."
	for _, tc := range []struct{ list, peer, want string }{
		{"", "192.0.2.1", ""},
		{"192.0.2.1", "192.0.2.1", ""},
		{"192.0.2.1", "192.0.2.2", refused},
		{"192.0.2.1", "::ffff:192.0.2.1", ""},
		{"192.0.2.0/24", "192.0.2.200", ""},
		{"192.0.2.77/24", "192.0.2.200", ""},
		{"2001:db8::/32", "2001:db8::1", ""},
		{"fe80::1", "fe80::1%2", ""},
		{"good.example", "198.51.100.7", ""},
		{"good.example", "2001:db8::7", ""},
		{"good.example", "2001:db8::8", refused},
		{"bad.example", "192.0.2.1", "Allowed host list error: no such host"},
		{"bad.example,192.0.2.1", "192.0.2.1", ""},
		{"192.0.2.9;bad.example\r\ngood.example", "192.0.2.1", "Allowed host list error: no such host"},
	} {
		cfg, err := config.Parse([]string{"-l", tc.list})
		if err != nil {
			t.Fatal(err)
		}
		if got := checkHost(t.Context(), cfg.Allow, netip.MustParseAddr(tc.peer), fakeResolver{}); got != tc.want {
			t.Errorf("%s in %q: %q, want %q", tc.peer, tc.list, got, tc.want)
		}
	}
}

// Clients that send anything, cut off anywhere, don't disturb a capture.
func TestHostileClients(t *testing.T) {
	d := serve(t)
	good := d.dial(t).auth()
	data := d.capture(good)
	eth0 := d.host.last()
	const count = 3000
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(worker), 7))
			for range 40 {
				hostile(d.address, random)
			}
		})
	}
	go func() {
		for range count {
			eth0.Push(frame(100))
		}
	}()
	readFrames(t, data, count)
	wg.Wait()
	good.call(&rpcap.EndCapRequest{})
	good.call(&rpcap.FindAllIfRequest{})
}

// hostile plays one connection: maybe a login, then junk of one kind.
func hostile(address string, random *rand.Rand) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(100 * time.Millisecond))
	if random.IntN(2) == 0 {
		_, _ = conn.Write(rpcap.Append(nil, &rpcap.AuthRequest{}))
	}
	junk := make([]byte, random.IntN(400))
	for i := range junk {
		junk[i] = byte(random.Uint32())
	}
	switch random.IntN(4) {
	case 0: // nothing but noise
	case 1: // a length that never comes true
		junk = append(rpcap.AppendHeader(nil, rpcap.Header{Type: rpcap.Type(random.IntN(16)), Len: random.Uint32()}), junk...)
	case 2: // whole messages with random bodies
		junk = append(rpcap.AppendHeader(nil, rpcap.Header{Type: rpcap.Type(random.IntN(16)), Len: uint32(len(junk))}), junk...)
	case 3: // a capture whose data connection never comes
		junk = rpcap.Append(rpcap.Append(nil, &rpcap.OpenRequest{Device: "eth0"}), &rpcap.StartCapRequest{Filter: []rpcap.Instruction{{Op: 6, K: 1}}})
	}
	_, _ = conn.Write(junk)
	_, _ = io.Copy(io.Discard, io.LimitReader(conn, 4096))
}

// The totals of a session that ends are those it had.
func TestSnapshotNeverGoesBack(t *testing.T) {
	d := serve(t)
	c := d.dial(t).auth()
	data := d.capture(c)
	d.host.last().Push(frame(60), frame(60))
	readFrames(t, data, 2)
	waitFor(t, func() bool { return d.Snapshot().Frames.Sent == 2 })
	c.conn.Close()
	for d.Snapshot().Sessions > 0 {
		if s := d.Snapshot(); s.Frames.Sent != 2 || s.Frames.Seen != 2 || s.Frames.Bytes == 0 {
			t.Fatalf("%+v", s)
		}
	}
	if s := d.Snapshot(); s.Frames.Sent != 2 || s.FiltersKernel != 1 {
		t.Errorf("%+v", s)
	}
}

func TestStopEndsEverything(t *testing.T) {
	d := serve(t)
	d.dial(t)
	idle := d.dial(t).auth()
	capturing := d.dial(t).auth()
	data := d.capture(capturing)
	d.host.last().Push(frame(60))
	d.stop()
	readFrames(t, data, 1)
	for _, c := range []*client{idle, capturing} {
		if _, _, err := c.r.Next(); err == nil {
			t.Error("a connection is still open")
		}
	}
	if !d.host.last().Closed() {
		t.Error("the device is still open")
	}
	if _, err := net.Dial("tcp", d.address); err == nil {
		t.Error("still listens")
	}
	if !strings.Contains(d.log.String(), "reason=shutdown") {
		t.Error(d.log.String())
	}
}

func TestListenFailures(t *testing.T) {
	taken, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := strconv.Itoa(taken.Addr().(*net.TCPAddr).Port)
	listen := func(args ...string) (*Daemon, string, error) {
		cfg, err := config.Parse(args)
		if err != nil {
			t.Fatal(err)
		}
		var log logtest.Buffer
		d := New(cfg, session.Config{}, &fakeHost{}, noSelf{}, slog.New(slog.NewTextHandler(&log, nil)))
		err = d.Listen(t.Context(), nil)
		t.Cleanup(d.Close)
		return d, log.String(), err
	}
	if _, log, err := listen("-4", "-p", port); !errors.Is(err, ErrNoListener) || !strings.Contains(log, "Can't listen on socket for 0.0.0.0:"+port) {
		t.Errorf("%v: %s", err, log)
	}
	// IPv6 is left, and open to everybody.
	d, log, err := listen("-n", "-p", port)
	if err != nil || len(d.listeners) != 1 || !strings.Contains(log, "Can't listen") || !strings.Contains(log, "ANYONE") {
		t.Errorf("%v: %s", err, log)
	}
	if _, log, err := listen("-n", "-b", "127.0.0.1", "-p", "0"); err != nil || strings.Contains(log, "ANYONE") {
		t.Errorf("%v: %s", err, log)
	}
}
