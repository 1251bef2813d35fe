package session_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"capstan/pkg/afpacket"
	"capstan/pkg/capture"
	"capstan/pkg/rpcap"
	"capstan/rpcapd/internal/device"
	"capstan/rpcapd/internal/pump"
	"capstan/rpcapd/internal/pump/pumptest"
	"capstan/rpcapd/internal/session"
)

// fakeHost has devices that tests feed.
type fakeHost struct {
	interfaces []rpcap.Interface
	linkTypes  map[string]capture.LinkType
	openError  error

	mu     sync.Mutex
	opened []*openedDevice
}

type openedDevice struct {
	pumptest.Device
	name    rpcap.Device
	options device.Options
}

func newHost() *fakeHost {
	return &fakeHost{linkTypes: map[string]capture.LinkType{
		"eth0": capture.LinkTypeEthernet, "vb": capture.LinkTypeEthernet, "lo": capture.LinkTypeEthernet,
		"any": capture.LinkTypeLinuxSLL, "tun0": capture.LinkTypeRaw,
	}, interfaces: []rpcap.Interface{{Name: "eth0", Flags: 0x16}}}
}

func (h *fakeHost) Interfaces() ([]rpcap.Interface, error) { return h.interfaces, nil }

func (h *fakeHost) Probe(d rpcap.Device) (capture.LinkType, error) {
	t, ok := h.linkTypes[d.Name]
	if !ok {
		return 0, &device.Error{Device: d.Name, Status: "No such device exists", Detail: "No such device exists", Err: unix.ENODEV}
	}
	return t, nil
}

func (h *fakeHost) Open(d rpcap.Device, o device.Options) (pump.Input, error) {
	if h.openError != nil {
		return pump.Input{}, h.openError
	}
	t, err := h.Probe(d)
	if err != nil {
		return pump.Input{}, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	dev := &openedDevice{name: d, options: o}
	dev.UserSpace = t == capture.LinkTypeLinuxSLL
	h.opened = append(h.opened, dev)
	return dev.Input(pump.LayoutOf(t)), nil
}

// last returns the device opened last.
func (h *fakeHost) last() *openedDevice {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.opened) == 0 {
		return nil
	}
	return h.opened[len(h.opened)-1]
}

func (h *fakeHost) closeCheck(t testing.TB) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, d := range h.opened {
		if !d.Closed() {
			t.Errorf("device %s was left open", d.name)
		}
	}
}

// pipeData is a data opener without sockets.
type pipeData struct {
	mu       sync.Mutex
	listener *pipeListener
	open     int      // listeners and connections not released
	dialed   net.Conn // the client's end of what DialData made
	dialErr  error
	blocked  bool // DialData waits for ctx
}

func (d *pipeData) DialData(ctx context.Context, network string, port uint16) (*session.DialedData, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.blocked {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if d.dialErr != nil {
		return nil, d.dialErr
	}
	if port == 0 {
		return nil, errors.New("dials port 0")
	}
	d.open++
	data := &session.DialedData{Release: d.release}
	data.Conn, d.dialed = net.Pipe()
	if network == "udp" {
		data.Conn, data.MaxDatagram = pumptest.Datagrams{Conn: data.Conn}, 65507
	}
	return data, nil
}

func (d *pipeData) release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open--
}

const pipePort = 4242

func (d *pipeData) ListenData(_ context.Context, timeout time.Duration, _ func()) (session.DataListener, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open++
	d.listener = &pipeListener{data: d, deadline: time.Now().Add(timeout), conns: make(chan net.Conn), closed: make(chan struct{})}
	return d.listener, nil
}

// connect does what a client does after STARTCAP_REPLY.
func (d *pipeData) connect(t testing.TB) net.Conn {
	t.Helper()
	d.mu.Lock()
	l := d.listener
	d.mu.Unlock()
	server, client := net.Pipe()
	select {
	case l.conns <- server:
		return client
	case <-l.closed:
		t.Fatal("the data listener is closed")
	}
	return nil
}

type pipeListener struct {
	data     *pipeData
	deadline time.Time
	conns    chan net.Conn
	once     sync.Once
	closed   chan struct{}
}

func (l *pipeListener) Port() uint16 { return pipePort }

func (l *pipeListener) Accept() (net.Conn, error) {
	timer := time.NewTimer(time.Until(l.deadline))
	defer timer.Stop()
	select {
	case c := <-l.conns:
		return c, nil
	case <-timer.C:
		return nil, os.ErrDeadlineExceeded
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() { l.once.Do(func() { close(l.closed) }) }

func (l *pipeListener) Release() { l.data.release() }

// rig is one session with a client.
type rig struct {
	t        testing.TB
	host     *fakeHost
	data     *pipeData
	session  *session.Session
	conn     net.Conn // the client's end
	reader   *rpcap.Reader
	counters session.Counters
	log      bytes.Buffer // read after wait
	cancel   context.CancelFunc
	done     chan session.Reason
}

var nullAuth = session.Config{NullAuth: true}

// start runs a session over net.Pipe.
func start(t testing.TB, cfg session.Config, host *fakeHost) *rig {
	server, client := net.Pipe()
	return startOn(t, cfg, host, server, client, nil)
}

func startOn(t testing.TB, cfg session.Config, host *fakeHost, server, client net.Conn, data session.DataOpener) *rig {
	r := &rig{t: t, host: host, data: &pipeData{}, conn: client, reader: rpcap.NewReader(client, nil), done: make(chan session.Reason, 1)}
	if data == nil {
		data = r.data
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	log := slog.New(slog.NewTextHandler(&r.log, nil))
	r.session = session.New(cfg, server, "test", host, data, log, &r.counters)
	go func() { r.done <- r.session.Run(ctx) }()
	t.Cleanup(func() { cancel(); client.Close() }) // of tests that failed
	return r
}

// wait returns why the session ended.
func (r *rig) wait() session.Reason {
	r.t.Helper()
	select {
	case reason := <-r.done:
		r.cancel()
		return reason
	case <-time.After(time.Hour): // virtual in most tests; else the test's own limit strikes first
		r.t.Fatal("the session does not end")
	}
	return 0
}

// end hangs up and waits.
func (r *rig) end() {
	r.t.Helper()
	r.conn.Close()
	r.wait()
	if r.data.open != 0 {
		r.t.Errorf("%d data listeners were not released", r.data.open)
	}
}

func (r *rig) send(hexadecimal string) {
	r.t.Helper()
	r.write(unhex(r.t, hexadecimal))
}

func unhex(t testing.TB, hexadecimal string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(hexadecimal), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (r *rig) write(b []byte) {
	r.t.Helper()
	if _, err := r.conn.Write(b); err != nil {
		r.t.Fatalf("write: %v", err)
	}
}

func (r *rig) message(m rpcap.Message) {
	r.t.Helper()
	r.write(rpcap.Append(nil, m))
}

// receive returns the next message as it was on the wire.
func (r *rig) receive() []byte {
	r.t.Helper()
	h, body, err := r.reader.Next()
	if err != nil {
		r.t.Fatalf("read: %v", err)
	}
	return append(rpcap.AppendHeader(nil, h), body...)
}

func (r *rig) expect(hexadecimal string) {
	r.t.Helper()
	want := strings.Join(strings.Fields(hexadecimal), "")
	if got := hex.EncodeToString(r.receive()); got != want {
		r.t.Fatalf("got  %s\nwant %s", got, want)
	}
}

func (r *rig) expectError(code rpcap.ErrorCode, text string) {
	r.t.Helper()
	r.expectVersionError(0, code, text)
}

func (r *rig) expectVersionError(version uint8, code rpcap.ErrorCode, text string) {
	r.t.Helper()
	want := rpcap.AppendVersion(nil, version, &rpcap.Error{Code: code, Text: text})
	if got := r.receive(); !bytes.Equal(got, want) {
		r.t.Fatalf("got  %q\nwant %q", got, want)
	}
}

func (r *rig) expectEOF() {
	r.t.Helper()
	if h, _, err := r.reader.Next(); err != io.EOF {
		r.t.Fatalf("got %v, %v, want EOF", h, err)
	}
}

const (
	authNull  = "00 08 0000 00000008 0000 0000 0000 0000"
	authReply = "00 88 0000 00000008 00 00 0000 d4c3b2a1"
	openEth0  = "00 03 0000 00000004 65746830"
	openReply = "00 83 0000 00000008 00000001 00000000"
	retAll    = "0001 0000 00000001 0006 00 00 00040000"
	startAll  = "00 04 0000 0000001c 00040000 00000005 0001 0000" + retAll
	started   = "00 84 0000 00000008 00040000 1092 0000"
	endCap    = "00 0a 0000 00000000"
	endReply  = "00 8a 0000 00000000"
	statsReq  = "00 09 0000 00000000"
	closeMsg  = "00 06 0000 00000000"
	listReq   = "00 02 0000 00000000"
)

func (r *rig) auth() *rig {
	r.t.Helper()
	r.send(authNull)
	r.expect(authReply)
	return r
}

func (r *rig) open() *rig {
	r.t.Helper()
	r.send(openEth0)
	r.expect(openReply)
	return r
}

// capture starts a capture and returns the data connection.
func (r *rig) capture() net.Conn {
	r.t.Helper()
	r.send(startAll)
	r.expect(started)
	return r.data.connect(r.t)
}

// inSync checks that the next request is understood.
func (r *rig) inSync() {
	r.t.Helper()
	r.send(listReq)
	if got := r.receive(); got[1] != byte(rpcap.TypeFindAllIfReply) {
		r.t.Fatalf("listing after it: % x", got)
	}
}

func ethernet(n int, tag byte) afpacket.Frame {
	data := bytes.Repeat([]byte{tag}, n)
	return afpacket.Frame{Timestamp: 1_700_000_000_000_001_000, Data: data, Len: n, NetworkOffset: 14}
}

// readPackets reads n PACKET messages off a data connection.
func readPackets(t testing.TB, conn net.Conn, n int) (headers []rpcap.PacketHeader) {
	t.Helper()
	r := rpcap.NewReader(conn, nil)
	for len(headers) < n {
		_, body, err := r.Next()
		if err != nil {
			t.Fatalf("after %d packets: %v", len(headers), err)
		}
		h, err := rpcap.ParsePacketHeader(body)
		if err != nil {
			t.Fatal(err)
		}
		headers = append(headers, h)
	}
	return headers
}
