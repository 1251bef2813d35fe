package pump_test

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"capstan/pkg/afpacket"
	"capstan/pkg/rpcap"
	"capstan/pkg/sockfilter"
	"capstan/rpcapd/internal/pump"
	"capstan/rpcapd/internal/pump/pumptest"
)

var config = pump.Config{SnapLen: rpcap.MaxSnapLen, BlockTimeout: 5 * time.Millisecond}

// frame makes an Ethernet frame of n bytes whose last four hold id.
func frame(id uint32, n int) afpacket.Frame {
	data := make([]byte, n)
	data[12], data[13] = 0x08, 0x00
	binary.BigEndian.PutUint32(data[n-4:], id)
	return afpacket.Frame{Timestamp: 1_700_000_000_123_456_789, Data: data, Len: n, NetworkOffset: 14, Protocol: 0x0800}
}

func compile(t testing.TB, insns ...bpf.Instruction) *sockfilter.Program {
	t.Helper()
	raw, err := bpf.Assemble(insns)
	if err != nil {
		t.Fatal(err)
	}
	p, err := sockfilter.Compile(raw)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// evenIDs accepts frames of 60 bytes with an even id, at most keep bytes.
func evenIDs(t testing.TB, keep uint32) *sockfilter.Program {
	return compile(t,
		bpf.LoadAbsolute{Off: 59, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 1, SkipTrue: 1},
		bpf.RetConstant{Val: keep},
		bpf.RetConstant{Val: 0})
}

func all(t testing.TB) *sockfilter.Program {
	return compile(t, bpf.RetConstant{Val: rpcap.MaxSnapLen})
}

// tcpPair returns the two ends of a connection on loopback.
func tcpPair(t testing.TB) (server, client *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(); c.Close() })
	return s.(*net.TCPConn), c.(*net.TCPConn)
}

type packet struct {
	rpcap.PacketHeader
	data []byte
}

// readPackets reads PACKET messages until EOF or until there are n.
func readPackets(t testing.TB, r *rpcap.Reader, n int) (packets []packet) {
	t.Helper()
	for len(packets) < n {
		h, body, err := r.Next()
		if err == io.EOF {
			return packets
		}
		if err != nil || h.Type != rpcap.TypePacket {
			t.Fatalf("after %d packets: %v, %v", len(packets), h, err)
		}
		p, err := rpcap.ParsePacketHeader(body)
		if err != nil {
			t.Fatal(err)
		}
		if int(h.Len) != 20+int(p.CapLen) {
			t.Fatalf("packet %d: body of %d bytes for %d bytes of frame", p.Number, h.Len, p.CapLen)
		}
		packets = append(packets, packet{p, append([]byte(nil), body[20:]...)})
	}
	return packets
}

const anyNumber = 1 << 30

// checkBalance checks the equations of capture.Stats.
func checkBalance(t testing.TB, p *pump.Pump) pump.Stats {
	t.Helper()
	s, err := p.Stats()
	if err != nil {
		t.Fatal(err)
	}
	if s.Seen != s.Excluded+s.Filtered+s.Sampled+s.Dropped+s.Matched {
		t.Errorf("seen ≠ excluded + filtered + sampled + dropped + matched: %+v", s)
	}
	if s.Matched != s.Sent+s.Undelivered {
		t.Errorf("matched ≠ sent + undelivered: %+v", s)
	}
	return s
}

func TestDeliversInOrderAndBalances(t *testing.T) {
	d := &pumptest.Device{}
	d.Push(frame(1000, 60)) // before the start: no part of the capture
	p := pump.New(d.Input(pump.LayoutEthernet), config)
	server, client := tcpPair(t)
	if err := start(p, server, all(t)); err != nil {
		t.Fatal(err)
	}
	const count = 5000
	for i := range uint32(count) {
		d.Push(frame(i, 60+int(i)%1000))
	}
	got := readPackets(t, rpcap.NewReader(client, nil), count)
	p.Stop()
	for i, g := range got {
		f := frame(uint32(i), 60+i%1000)
		if g.Number != uint32(i)+1 || string(g.data) != string(f.Data) || int(g.Len) != f.Len || g.Timestamp != f.Timestamp/1000*1000 {
			t.Fatalf("packet %d: %+v", i, g.PacketHeader)
		}
	}
	s := checkBalance(t, p)
	if s.Seen != count || s.Filtered != 0 || s.Sent != count || s.Undelivered != 0 {
		t.Errorf("%+v", s)
	}
	if r := s.Reply(); r != (rpcap.StatsReply{Received: count, Sent: count}) {
		t.Errorf("STATS_REPLY %+v", r)
	}
	if !d.Closed() {
		t.Error("the ring is still open")
	}
}

func TestSnapLenFilterAndTag(t *testing.T) {
	tagged := frame(2, 60)
	tagged.VLANPresent, tagged.VLANTCI, tagged.VLANProtocol = true, 7, 0x8100
	// In the client's view a tagged frame's id is 4 bytes further back.
	taggedOnly := compile(t,
		bpf.LoadAbsolute{Off: 12, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0x8100, SkipFalse: 1},
		bpf.RetConstant{Val: 1 << 18},
		bpf.RetConstant{Val: 0})
	untaggedOnly := compile(t,
		bpf.LoadAbsolute{Off: 12, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0x0800, SkipFalse: 1},
		bpf.RetConstant{Val: 1 << 18},
		bpf.RetConstant{Val: 0})
	for _, tc := range []struct {
		name      string
		userSpace bool
		layout    pump.Layout
		snapLen   int
		filter    *sockfilter.Program
		want      []int // lengths of what is delivered
		filtered  uint64
	}{
		{"everything", false, pump.LayoutEthernet, 1000, nil, []int{60, 60, 64}, 0},
		{"snap length", false, pump.LayoutEthernet, 62, nil, []int{60, 60, 62}, 0},
		{"kernel filter", false, pump.LayoutEthernet, 1000, taggedOnly, []int{64}, 2},
		{"tagged frames are judged here", false, pump.LayoutEthernet, 1000, untaggedOnly, []int{60, 60}, 1},
		{"user-space filter", true, pump.LayoutEthernet, 1000, taggedOnly, []int{64}, 2},
		{"verdict cuts", true, pump.LayoutEthernet, 1000, evenIDs(t, 33), []int{33, 33}, 1},
		{"snap length before verdict", true, pump.LayoutEthernet, 20, evenIDs(t, 33), []int{20, 20}, 1},
		{"cooked", true, pump.LayoutCooked, 1000, nil, []int{62, 62, 66}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := &pumptest.Device{UserSpace: tc.userSpace}
			p := pump.New(d.Input(tc.layout), pump.Config{SnapLen: tc.snapLen, BlockTimeout: config.BlockTimeout})
			server, client := tcpPair(t)
			if err := start(p, server, tc.filter); err != nil {
				t.Fatal(err)
			}
			d.Push(frame(0, 60), frame(1, 60), tagged)
			p.Stop()
			var lengths []int
			for i, g := range readPackets(t, rpcap.NewReader(client, nil), anyNumber) {
				lengths = append(lengths, len(g.data))
				if g.Number != uint32(i)+1 {
					t.Errorf("packet %d has number %d", i, g.Number)
				}
			}
			if len(lengths) != len(tc.want) {
				t.Fatalf("lengths %v, want %v", lengths, tc.want)
			}
			for i := range lengths {
				if lengths[i] != tc.want[i] {
					t.Fatalf("lengths %v, want %v", lengths, tc.want)
				}
			}
			if s := checkBalance(t, p); s.Filtered != tc.filtered {
				t.Errorf("%d frames filtered, want %d", s.Filtered, tc.filtered)
			}
		})
	}
}

// A new program is judged by user space on everything that the kernel let pass
// for an old one that ran there.
func TestUpdateFromUserSpaceToKernelLeaksNothing(t *testing.T) {
	d := &pumptest.Device{UserSpace: true}
	p := pump.New(d.Input(pump.LayoutEthernet), config)
	server, client := tcpPair(t)
	if err := start(p, server, evenIDs(t, 1<<18)); err != nil {
		t.Fatal(err)
	}
	d.UserSpace = false
	if inKernel, err := p.SetFilter(evenIDs(t, 1<<18)); !inKernel || err != nil {
		t.Fatal(inKernel, err)
	}
	d.UserSpace = true // what is in the ring has been judged by nobody
	for i := range uint32(10) {
		d.Push(frame(i, 60))
	}
	p.Stop()
	if got := readPackets(t, rpcap.NewReader(client, nil), anyNumber); len(got) != 5 {
		t.Errorf("%d frames delivered, want 5", len(got))
	}
	checkBalance(t, p)
}

func TestSetFilterErrorKeepsOldFilter(t *testing.T) {
	d := &pumptest.Device{UserSpace: true}
	p := pump.New(d.Input(pump.LayoutEthernet), config)
	server, client := tcpPair(t)
	if err := start(p, server, evenIDs(t, 1<<18)); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	d.SetError = broken
	if _, err := p.SetFilter(all(t)); !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
	d.Push(frame(0, 60), frame(1, 60))
	p.Stop()
	if got := readPackets(t, rpcap.NewReader(client, nil), anyNumber); len(got) != 1 {
		t.Errorf("%d frames delivered, want 1", len(got))
	}
	if _, err := p.SetFilter(nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("filter of an ended capture: %v", err)
	}
}

func TestFrameLargerThanBuffer(t *testing.T) {
	d := &pumptest.Device{}
	p := pump.New(d.Input(pump.LayoutEthernet), config)
	server, client := tcpPair(t)
	if err := start(p, server, nil); err != nil {
		t.Fatal(err)
	}
	big := frame(7, rpcap.MaxSnapLen+10)
	go d.Push(frame(1, 60), big, frame(2, 60))
	got := readPackets(t, rpcap.NewReader(client, nil), 3)
	p.Close()
	if len(got[1].data) != rpcap.MaxSnapLen || int(got[1].Len) != len(big.Data) || got[2].Number != 3 {
		t.Errorf("%d of %d bytes, then packet %d", len(got[1].data), got[1].Len, got[2].Number)
	}
}

// A client that doesn't read: the ring fills, the kernel drops, and Stop still
// returns soon and accounts for everything.
func TestStopWhileClientDoesNotRead(t *testing.T) {
	d := &pumptest.Device{Capacity: 5000}
	p := pump.New(d.Input(pump.LayoutEthernet), config)
	server, client := tcpPair(t)
	_ = server.SetWriteBuffer(4096)
	_ = client.SetReadBuffer(4096)
	if err := start(p, server, nil); err != nil {
		t.Fatal(err)
	}
	const count = 20000
	for i := range uint32(count) {
		d.Push(frame(i, 1000))
	}
	p.Stop()
	s := checkBalance(t, p)
	if s.Dropped == 0 || s.Undelivered == 0 || s.Seen != count {
		t.Errorf("%+v", s)
	}
	got := readPacketsUntilCut(rpcap.NewReader(client, nil))
	if uint64(got) != s.Sent {
		t.Errorf("the client found %d whole packets, %d were counted as sent", got, s.Sent)
	}
}

// readPacketsUntilCut counts whole packets until the stream ends anywhere.
func readPacketsUntilCut(r *rpcap.Reader) (n int) {
	for {
		if _, _, err := r.Next(); err != nil {
			return n
		}
		n++
	}
}

func TestCloseUnblocksWrite(t *testing.T) {
	d := &pumptest.Device{}
	p := pump.New(d.Input(pump.LayoutEthernet), config)
	server, client := net.Pipe() // nobody reads
	defer client.Close()
	if err := start(p, server, nil); err != nil {
		t.Fatal(err)
	}
	d.Push(frame(1, 60))
	time.Sleep(10 * time.Millisecond)
	done := make(chan struct{})
	go func() { p.Close(); p.Close(); close(done) }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("Close does not return")
	}
	if s := checkBalance(t, p); s.Undelivered != 1 {
		t.Errorf("%+v", s)
	}
}

func TestLostConnectionKeepsCounters(t *testing.T) {
	d := &pumptest.Device{}
	p := pump.New(d.Input(pump.LayoutEthernet), config)
	server, client := net.Pipe()
	if err := start(p, server, nil); err != nil {
		t.Fatal(err)
	}
	client.Close()
	d.Push(frame(1, 60), frame(2, 60))
	<-p.Done()
	if !errors.Is(p.Err(), pump.ErrConnectionLost) {
		t.Errorf("ended by %v", p.Err())
	}
	p.Close()
	if s := checkBalance(t, p); s.Undelivered != 2 || s.Sent != 0 {
		t.Errorf("%+v", s)
	}
	if d.Active() {
		t.Error("frames still pass")
	}
}

func TestDeviceVanishes(t *testing.T) {
	d := &pumptest.Device{}
	p := pump.New(d.Input(pump.LayoutEthernet), config)
	server, client := tcpPair(t)
	if err := start(p, server, nil); err != nil {
		t.Fatal(err)
	}
	d.Push(frame(1, 60))
	d.Fail(&afpacket.InterfaceGoneError{Err: unix.ENETDOWN})
	<-p.Done()
	gone := (*afpacket.InterfaceGoneError)(nil)
	if !errors.As(p.Err(), &gone) {
		t.Errorf("ended by %v", p.Err())
	}
	p.Close()
	if got := readPackets(t, rpcap.NewReader(client, nil), anyNumber); len(got) != 1 {
		t.Errorf("%d frames delivered, want 1", len(got))
	}
	checkBalance(t, p)
}

func TestNeverStarted(t *testing.T) {
	d := &pumptest.Device{}
	p := pump.New(d.Input(pump.LayoutEthernet), config)
	p.Stop()
	if !d.Closed() {
		t.Error("the ring is still open")
	}
	server, client := net.Pipe()
	defer client.Close()
	if err := start(p, server, nil); err == nil {
		t.Error("a closed pump starts")
	}
	if _, err := server.Write(nil); err == nil {
		t.Error("the connection is still open")
	}
}

// countingConn takes everything and counts writes.
type countingConn struct {
	net.Conn
	writes, bytes atomic.Int64
}

func (c *countingConn) Write(b []byte) (int, error) {
	c.writes.Add(1)
	c.bytes.Add(int64(len(b)))
	return len(b), nil
}
func (c *countingConn) SetWriteDeadline(time.Time) error { return nil }
func (c *countingConn) Close() error                     { return nil }

// endless is a ring that is always full.
type endless struct {
	pumptest.Device
	frame   afpacket.Frame
	left    atomic.Int64
	inBlock int
}

func (e *endless) NextBlock(timeout time.Duration) error {
	const block = 128
	if e.left.Add(-block) <= -block {
		return e.Device.NextBlock(timeout)
	}
	e.inBlock = block
	return nil
}

func (e *endless) Next(f *afpacket.Frame) bool {
	if e.inBlock == 0 {
		return false
	}
	e.inBlock--
	*f = e.frame
	return true
}

func pumpThrough(tb testing.TB, f afpacket.Frame, layout pump.Layout, filter *sockfilter.Program, frames int) *countingConn {
	e := &endless{frame: f}
	e.UserSpace = true
	e.left.Store(int64(frames))
	in := e.Input(layout)
	in.Source = e
	p := pump.New(in, config)
	conn := &countingConn{}
	if err := start(p, conn, filter); err != nil {
		tb.Fatal(err)
	}
	p.Stop()
	return conn
}

// The whole way of a frame, user-space filter and tag included, must not
// allocate: what a run of 100,000 frames allocates is what one of 1,000 does.
func TestNoAllocationPerFrame(t *testing.T) {
	f := frame(2, 60)
	f.VLANPresent, f.VLANTCI = true, 5
	accept := all(t)
	for _, layout := range []pump.Layout{pump.LayoutEthernet, pump.LayoutRaw, pump.LayoutCooked} {
		few := testing.AllocsPerRun(3, func() { pumpThrough(t, f, layout, accept, 1000) })
		many := testing.AllocsPerRun(3, func() { pumpThrough(t, f, layout, accept, 100_000) })
		if many > few+50 {
			t.Errorf("layout %d: %.0f allocations for 1,000 frames, %.0f for 100,000", layout, few, many)
		}
	}
}

func TestWritesAreLarge(t *testing.T) {
	const frames = 128 * 1000
	conn := pumpThrough(t, frame(1, 100), pump.LayoutEthernet, nil, frames)
	if conn.bytes.Load() < frames*128 {
		t.Fatalf("%d bytes for %d frames", conn.bytes.Load(), frames)
	}
	if mean := conn.bytes.Load() / conn.writes.Load(); mean < 200<<10 {
		t.Errorf("%d writes of %d bytes", conn.writes.Load(), mean)
	}
}

func BenchmarkPump(b *testing.B) {
	for _, bc := range []struct {
		name string
		size int
	}{{"60", 60}, {"1400", 1400}} {
		b.Run(bc.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(bc.size))
			pumpThrough(b, frame(1, bc.size), pump.LayoutEthernet, nil, b.N)
		})
	}
}

func start(p *pump.Pump, conn net.Conn, filter *sockfilter.Program) error {
	if _, err := p.SetFilter(filter); err != nil {
		conn.Close()
		return err
	}
	return p.Start(conn)
}

// A frame that a program in the kernel accepted and cut is not judged again by
// what is left of it.
func TestUpdateFromUserSpaceToKernelKeepsCutFrames(t *testing.T) {
	d := &pumptest.Device{UserSpace: true}
	p := pump.New(d.Input(pump.LayoutEthernet), config)
	server, client := tcpPair(t)
	if err := start(p, server, evenIDs(t, 40)); err != nil {
		t.Fatal(err)
	}
	d.UserSpace = false
	if inKernel, err := p.SetFilter(evenIDs(t, 40)); !inKernel || err != nil {
		t.Fatal(inKernel, err)
	}
	d.UserSpace = true // the kernel has judged what follows
	for i := range uint32(5) {
		f := frame(2*i, 60)
		f.Data = f.Data[:40]
		d.Push(f)
	}
	p.Stop()
	if got := readPackets(t, rpcap.NewReader(client, nil), anyNumber); len(got) != 5 {
		t.Errorf("%d frames delivered, want 5", len(got))
	}
	checkBalance(t, p)
}
