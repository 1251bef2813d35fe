//go:build linux

package device

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"capstan/pkg/netns"
	"capstan/pkg/netns/netnstest"
	"capstan/pkg/rpcap"
	"capstan/pkg/sockfilter"
	"capstan/rpcapd/internal/pump"
)

// How long TestLedger sends, and how often the filter changes meanwhile, unless
// SOAK_TIME says otherwise: then it changes every second.
const (
	soakTime   = time.Second
	soakChange = 100 * time.Millisecond
)

const (
	soakEtherType = 0x88b5 // IEEE 802, local experimental
	soakBurst     = 64
	soakNumber    = 14 // offset of a frame's number, 8 bytes
)

// soakFrame makes frame number n in buf: from 60 to 1,459 bytes, so that some
// are copied and some are written from the ring.
func soakFrame(buf []byte, n uint64) []byte {
	f := buf[:60+n*37%1400]
	clear(f[:soakNumber])
	binary.BigEndian.PutUint16(f[12:], soakEtherType)
	binary.BigEndian.PutUint64(f[soakNumber:], n)
	for i := soakNumber + 8; i < len(f); i++ {
		f[i] = byte(n)
	}
	return f
}

// sender is a packet socket that sends through interfaces in turn.
type sender struct {
	fd      int
	indices []int
	sent    uint64
	buf     [2000]byte
}

func newSender(t testing.TB, n *netns.NS, names ...string) *sender {
	t.Helper()
	s := &sender{}
	for _, name := range names {
		index, err := n.Index(name)
		if err != nil {
			t.Fatal(err)
		}
		s.indices = append(s.indices, index)
	}
	if err := n.Do(func() (err error) {
		s.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(s.fd) })
	return s
}

// burst sends some frames, and then rests for as long as that took, so that the
// rate is at most half of what is possible.
func (s *sender) burst() error {
	begin := time.Now()
	for range soakBurst {
		to := &unix.SockaddrLinklayer{Ifindex: s.indices[s.sent%uint64(len(s.indices))]}
		if err := unix.Sendto(s.fd, soakFrame(s.buf[:], s.sent), 0, to); err != nil {
			return err
		}
		s.sent++
	}
	time.Sleep(time.Since(begin))
	return nil
}

// soakReceive reads PACKETs until the end of the stream, and checks that each
// frame is whole, and later than the one before.
func soakReceive(r io.Reader) (received uint64, err error) {
	reader := rpcap.NewReader(r, nil)
	want := make([]byte, 2000)
	next := uint64(0)
	for {
		_, body, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return received, nil
		}
		if err != nil {
			return received, err
		}
		h, err := rpcap.ParsePacketHeader(body)
		if err != nil {
			return received, err
		}
		frame := body[rpcap.PacketOverhead-rpcap.HeaderLen:]
		received++
		n := binary.BigEndian.Uint64(frame[soakNumber:])
		switch {
		case h.Number != uint32(received):
			return received, fmt.Errorf("packet %d has number %d", received, h.Number)
		case n < next:
			return received, fmt.Errorf("frame %d after frame %d", n, next-1)
		case string(frame) != string(soakFrame(want, n)) || int(h.Len) != len(frame):
			return received, fmt.Errorf("frame %d is not as sent: % x", n, frame)
		}
		next = n + 1
	}
}

// soakFilters are what clients change to and fro between: everything, and frames
// whose number has its last bit set, or not.
func soakFilters(t *testing.T) (filters []*sockfilter.Program) {
	t.Helper()
	for _, odd := range []bool{true, false} {
		jump := bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 1, SkipTrue: 1}
		if odd {
			jump = bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 1, SkipFalse: 1}
		}
		raw, err := bpf.Assemble([]bpf.Instruction{
			bpf.LoadAbsolute{Off: soakNumber + 7, Size: 1}, jump, bpf.RetConstant{Val: rpcap.MaxSnapLen}, bpf.RetConstant{},
		})
		if err != nil {
			t.Fatal(err)
		}
		p, err := sockfilter.Compile(raw)
		if err != nil {
			t.Fatal(err)
		}
		filters = append(filters, p)
	}
	return append(filters, nil)
}

// soakPump starts a capture in a namespace with so many veth interfaces, cap0
// and so on, whose other ends, gen0 and so on, are in peer.
func soakPump(t testing.TB, device rpcap.Device, pairs int) (p *pump.Pump, peer *netns.NS, data net.Conn) {
	t.Helper()
	host, peer := netnstest.New(t), netnstest.New(t)
	for _, n := range []*netns.NS{host, peer} {
		// No other frame shall be seen than those that are sent here.
		if err := n.Do(func() error {
			return os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0)
		}); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	for i := range pairs {
		if err := netns.Veth(host, fmt.Sprintf("cap%d", i), peer, fmt.Sprintf("gen%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	const timeout = 20 * time.Millisecond
	var in pump.Input
	if err := host.Do(func() (err error) {
		in, err = (&Host{RingMiB: 8}).Open(device, Options{SnapLen: rpcap.MaxSnapLen, BlockTimeout: timeout, Promiscuous: true})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	p = pump.New(in, pump.Config{SnapLen: rpcap.MaxSnapLen, BlockTimeout: timeout})
	t.Cleanup(p.Close)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if data, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { data.Close() })
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.SetFilter(nil); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(conn); err != nil {
		t.Fatal(err)
	}
	return p, peer, data
}

// TestLedger: while filters change, each frame that is sent ends in exactly one
// counted place, and what is delivered is whole and in order.
func TestLedger(t *testing.T) {
	netnstest.RequireCapture(t)
	duration, every := soakTime, soakChange
	if text := os.Getenv("SOAK_TIME"); text != "" {
		var err error
		if duration, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
		every = time.Second
	}
	filters := soakFilters(t)
	p, peer, data := soakPump(t, rpcap.Device{Name: "cap0"}, 1)
	type count struct {
		n   uint64
		err error
	}
	from := newSender(t, peer, "gen0")
	sender, receiver, stop := make(chan error, 1), make(chan count, 1), make(chan struct{})
	go func() { // ended by stop
		for {
			select {
			case <-stop:
				sender <- nil
				return
			default:
			}
			if err := from.burst(); err != nil {
				sender <- err
				return
			}
		}
	}()
	go func() { // ended by p.Stop
		n, err := soakReceive(data)
		receiver <- count{n, err}
	}()
	changes := 0
	for end := time.Now().Add(duration); time.Now().Before(end); changes++ {
		time.Sleep(every)
		if _, err := p.SetFilter(filters[changes%len(filters)]); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	sendErr := <-sender
	p.Stop()
	received := <-receiver
	s, err := p.Stats()
	if err := errors.Join(sendErr, received.err, err, p.Err()); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d frames sent, %d filters: %+v", from.sent, changes, s.Stats)
	if s.Seen != from.sent || s.Sent != received.n || received.n == 0 || s.Filtered == 0 {
		t.Errorf("%d frames were sent and %d received: %+v", from.sent, received.n, s.Stats)
	}
	if s.Seen != s.Excluded+s.Filtered+s.Sampled+s.Dropped+s.Matched || s.Matched != s.Sent+s.Undelivered {
		t.Errorf("does not balance: %+v", s.Stats)
	}
}
