package afpacket

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"capstan/pkg/netns"
	"capstan/pkg/netns/netnstest"
)

// testWait bounds waiting for something that has to come; a test that runs
// into it fails for lack of the thing, not for being late.
const testWait = 20 * time.Second

// link is a veth pair between two namespaces: frames go in at the sender's
// end, the ring is on the receiver's.
type link struct {
	sender, receiver *netns.NS
	senderIndex      int
	receiverIndex    int
	fd               int // packet socket in the sender's namespace
}

func newLink(t testing.TB) *link {
	t.Helper()
	netnstest.RequireCapture(t)
	l := &link{sender: netnstest.New(t), receiver: netnstest.New(t)}
	err := netns.Veth(l.sender, "tx", l.receiver, "rx")
	if err == nil {
		l.senderIndex, err = l.sender.Index("tx")
	}
	if err == nil {
		l.receiverIndex, err = l.receiver.Index("rx")
	}
	if err == nil {
		l.fd, err = packetSocket(l.sender)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(l.fd) })
	return l
}

func packetSocket(n *netns.NS) (fd int, err error) {
	err = n.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		return err
	})
	return fd, err
}

func (l *link) send(t testing.TB, frame []byte) {
	t.Helper()
	if err := sendFrame(l.fd, l.senderIndex, frame); err != nil {
		t.Fatal(err)
	}
}

func sendFrame(fd, ifindex int, frame []byte) error {
	return unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: ifindex})
}

func openIn(t testing.TB, n *netns.NS, cfg Config) *Ring {
	t.Helper()
	var r *Ring
	err := n.Do(func() (err error) {
		r, err = Open(cfg, nil)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return r
}

// testFrame returns frame number i: an Ethernet frame of an experimental
// EtherType with its number and reproducible bytes, of a length that varies.
func testFrame(buf []byte, i int) []byte {
	random := rand.New(rand.NewPCG(uint64(i), 7))
	f := append(buf[:0], 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5)
	f = binary.BigEndian.AppendUint32(f, uint32(i))
	for n := random.IntN(1400); n > 0; n-- {
		f = append(f, byte(random.Uint32()))
	}
	return f
}

func next(t testing.TB, r *Ring, b *Block) {
	t.Helper()
	if err := r.Next(b, testWait); err != nil {
		t.Fatalf("Next: %v", err)
	}
}

func TestFramesArriveWholeAndInOrder(t *testing.T) {
	const count = 20_000
	l := newLink(t)
	r := openIn(t, l.receiver, Config{Interface: l.receiverIndex, BlockLen: 1 << 18, BlockCount: 256, BlockTimeout: 5 * time.Millisecond})
	start := time.Now().UnixNano()
	var wg sync.WaitGroup
	wg.Go(func() {
		var buf []byte
		for i := range count {
			buf = testFrame(buf, i)
			if err := sendFrame(l.fd, l.senderIndex, buf); err != nil {
				t.Errorf("send frame %d: %v", i, err)
				return
			}
		}
	})
	defer wg.Wait()
	var b Block
	var f Frame
	var want []byte
	last := start
	for i := 0; i < count; {
		next(t, r, &b)
		for b.Next(&f) {
			want = testFrame(want, i)
			if !bytes.Equal(f.Data, want) || f.Len != len(want) || f.NetworkOffset != 14 {
				t.Fatalf("frame %d: %d bytes %x…, Len %d, NetworkOffset %d, want %d bytes", i, len(f.Data), f.Data[:18], f.Len, f.NetworkOffset, len(want))
			}
			if f.Timestamp < last || f.Timestamp > time.Now().UnixNano() {
				t.Fatalf("frame %d: timestamp %d after %d", i, f.Timestamp, last)
			}
			last = f.Timestamp
			// Addressed to 02:00:00:00:00:02, which is not the interface's.
			if f.Interface != l.receiverIndex || f.Protocol != 0x88b5 || f.PacketType != unix.PACKET_OTHERHOST ||
				f.HardwareType != unix.ARPHRD_ETHER || f.AddressLen != 6 || !bytes.Equal(f.Address[:6], f.Data[6:12]) || f.VLANPresent {
				t.Fatalf("frame %d: %+v", i, f)
			}
			i++
		}
		b.Release()
	}
	if s, err := r.Stats(); err != nil || s != (Stats{Packets: count}) {
		t.Errorf("Stats = %+v, %v, want %d packets", s, err, count)
	}
}

func TestVLANTagIsMetadata(t *testing.T) {
	for _, tt := range []struct {
		name string
		tpid uint16
		tci  uint16
	}{
		{"802.1Q", 0x8100, 0x2064},
		{"802.1ad", 0x88a8, 0xe001},
		{"priority tag of zeros", 0x8100, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLink(t)
			r := openIn(t, l.receiver, Config{Interface: l.receiverIndex, BlockTimeout: time.Millisecond})
			plain := testFrame(nil, 3)
			tagged := append([]byte(nil), plain[:12]...)
			tagged = binary.BigEndian.AppendUint16(tagged, tt.tpid)
			tagged = binary.BigEndian.AppendUint16(tagged, tt.tci)
			tagged = append(tagged, plain[12:]...)
			l.send(t, tagged)
			var b Block
			var f Frame
			next(t, r, &b)
			if !b.Next(&f) {
				t.Fatal("no frame")
			}
			if !f.VLANPresent || f.VLANTCI != tt.tci || f.VLANProtocol != tt.tpid {
				t.Errorf("present %v, TCI %#x, protocol %#x", f.VLANPresent, f.VLANTCI, f.VLANProtocol)
			}
			if !bytes.Equal(f.Data, plain) || f.Len != len(plain) {
				t.Errorf("frame is %x, want the tag taken out of %x", f.Data, tagged)
			}
			b.Release()
		})
	}
}

func TestOverloadIsCounted(t *testing.T) {
	const count = 5000
	l := newLink(t)
	r := openIn(t, l.receiver, Config{Interface: l.receiverIndex, BlockLen: 1 << 14, BlockCount: 4, BlockTimeout: time.Millisecond})
	var buf []byte
	for i := range count {
		buf = testFrame(buf, i)
		l.send(t, buf)
	}
	received := uint64(0)
	var b Block
	var f Frame
	for {
		err := r.Next(&b, 100*time.Millisecond)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for b.Next(&f) {
			received++
		}
		b.Release()
	}
	s, err := r.Stats()
	if err != nil {
		t.Fatal(err)
	}
	if s.Packets != count || s.Drops == 0 || s.Freezes == 0 || received == 0 || s.Packets != s.Drops+received {
		t.Errorf("%d sent, %d received, %+v", count, received, s)
	}
	// Reading the kernel's counters resets them; ours go on, also after Close.
	l.send(t, buf)
	next(t, r, &b)
	b.Release()
	want := s
	want.Packets++
	if s, err := r.Stats(); err != nil || s != want {
		t.Errorf("Stats = %+v, %v, want %+v", s, err, want)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if s, err := r.Stats(); err != nil || s != want {
		t.Errorf("Stats after Close = %+v, %v, want %+v", s, err, want)
	}
}

func TestLargeFramesOnLoopback(t *testing.T) {
	netnstest.RequireCapture(t)
	n := netnstest.New(t)
	index, err := n.Index("lo")
	if err != nil {
		t.Fatal(err)
	}
	r := openIn(t, n, Config{Interface: index, BlockTimeout: time.Millisecond})
	fd, err := packetSocket(n)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	want := make([]byte, 65536+14)
	for i := range want {
		want[i] = byte(i * i >> 7)
	}
	copy(want, []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x88, 0xb5})
	const count = 20
	for range count {
		if err := sendFrame(fd, index, want); err != nil {
			t.Fatal(err)
		}
	}
	var b Block
	var f Frame
	var in, out int
	for in+out < 2*count {
		next(t, r, &b)
		for b.Next(&f) {
			switch f.PacketType {
			case unix.PACKET_OUTGOING:
				out++
			case unix.PACKET_HOST:
				in++
			}
			if !bytes.Equal(f.Data, want) || f.Len != len(want) {
				t.Fatalf("frame of %d bytes, Len %d, differs", len(f.Data), f.Len)
			}
		}
		b.Release()
	}
	if in != count || out != count {
		t.Errorf("%d in and %d out, want %d each", in, out, count)
	}
}

func TestFrameLargerThanBlockIsClamped(t *testing.T) {
	netnstest.RequireCapture(t)
	n := netnstest.New(t)
	index, _ := n.Index("lo")
	r := openIn(t, n, Config{Interface: index, BlockLen: 1 << 15, BlockTimeout: time.Millisecond})
	fd, err := packetSocket(n)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	frame := make([]byte, 65000)
	frame[12], frame[13] = 0x88, 0xb5
	if err := sendFrame(fd, index, frame); err != nil {
		t.Fatal(err)
	}
	var b Block
	var f Frame
	for b.Len() == 0 { // the frame didn't fit a block already begun
		b.Release()
		next(t, r, &b)
	}
	defer b.Release()
	if !b.Next(&f) || f.Len != len(frame) || len(f.Data) >= 1<<15 || len(f.Data) < 1<<14 {
		t.Errorf("%d bytes of %d, want what fits the block of 32 KiB", len(f.Data), f.Len)
	}
}

func TestAllInterfaces(t *testing.T) {
	l := newLink(t)
	if err := netns.Veth(l.sender, "tx2", l.receiver, "rx2"); err != nil {
		t.Fatal(err)
	}
	second, err := l.sender.Index("tx2")
	if err != nil {
		t.Fatal(err)
	}
	r := openIn(t, l.receiver, Config{BlockTimeout: time.Millisecond, Promiscuous: true})
	if r.Promiscuous() {
		t.Error("all interfaces at once can't be promiscuous")
	}
	frame := testFrame(nil, 1)
	l.send(t, frame)
	if err := sendFrame(l.fd, second, frame); err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	var b Block
	var f Frame
	for len(seen) < 2 {
		next(t, r, &b)
		for b.Next(&f) {
			seen[f.Interface] = true
		}
		b.Release()
	}
	if !seen[l.receiverIndex] {
		t.Errorf("frames on interfaces %v, want %d too", seen, l.receiverIndex)
	}
}

func TestPromiscuous(t *testing.T) {
	l := newLink(t)
	r := openIn(t, l.receiver, Config{Interface: l.receiverIndex, Promiscuous: true})
	if !r.Promiscuous() {
		t.Error("the interface of a veth pair can be promiscuous, but isn't")
	}
}

// TestFilterIsAttachedBeforeFirstFrame opens rings with a filter that refuses
// all while frames keep coming: not one may slip in.
func TestFilterIsAttachedBeforeFirstFrame(t *testing.T) {
	l := newLink(t)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	frame := testFrame(nil, 1)
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if err := sendFrame(l.fd, l.senderIndex, frame); err != nil {
					t.Errorf("send: %v", err)
					return
				}
			}
		}
	})
	refuseAll := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K}}
	err := l.receiver.Do(func() error {
		for range 50 {
			r, err := Open(Config{Interface: l.receiverIndex, BlockTimeout: time.Millisecond}, func(fd int) error {
				return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &refuseAll[0]})
			})
			if err != nil {
				return err
			}
			time.Sleep(time.Millisecond)
			if s, err := r.Stats(); err != nil || s.Packets != 0 {
				t.Errorf("%+v, %v: frames passed a filter that refuses all", s, err)
			}
			r.Close()
		}
		return nil
	})
	close(stop)
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
}

func TestInterfaceGone(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(*link) error
	}{
		{"deleted", func(l *link) error { return l.receiver.Delete("rx") }},
		{"down", func(l *link) error { return l.receiver.SetDown("rx") }},
		{"far end deleted", func(l *link) error { return l.sender.Delete("tx") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const count = 40
			l := newLink(t)
			// Frames still wait in an open block when the interface goes.
			r := openIn(t, l.receiver, Config{Interface: l.receiverIndex, BlockTimeout: 200 * time.Millisecond})
			for i := range count {
				l.send(t, testFrame(nil, i))
			}
			if err := tt.do(l); err != nil {
				t.Fatal(err)
			}
			var b Block
			var f Frame
			received := 0
			var err error
			for {
				if err = r.Next(&b, testWait); err != nil {
					break
				}
				for b.Next(&f) {
					received++
				}
				b.Release()
			}
			var gone *InterfaceGoneError
			if !errors.As(err, &gone) || gone.Interface != l.receiverIndex || !isGone(err) {
				t.Errorf("Next: %v, want *InterfaceGoneError", err)
			}
			if received != count {
				t.Errorf("%d frames before the error, want %d", received, count)
			}
			if again := r.Next(&b, 0); !errors.Is(again, err) {
				t.Errorf("Next after the error: %v", again)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	l := newLink(t)
	if err := netns.Veth(l.sender, "a", l.receiver, "b"); err != nil {
		t.Fatal(err)
	}
	down, err := l.receiver.Index("b")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.receiver.SetDown("b"); err != nil {
		t.Fatal(err)
	}
	refused := errors.New("no filter today")
	is := func(want error) func(error) bool { return func(err error) bool { return errors.Is(err, want) } }
	isGone := func(err error) bool { var e *InterfaceGoneError; return errors.As(err, &e) }
	isConfig := func(field string) func(error) bool {
		return func(err error) bool { var e *ConfigError; return errors.As(err, &e) && e.Field == field }
	}
	for _, tt := range []struct {
		name   string
		cfg    Config
		attach func(int) error
		want   func(error) bool
	}{
		{"no such interface", Config{Interface: 1 << 20}, nil, isGone},
		{"no such interface, errno", Config{Interface: 1 << 20}, nil, is(unix.ENODEV)},
		{"interface down", Config{Interface: down}, nil, isGone},
		{"interface down, errno", Config{Interface: down}, nil, is(unix.ENETDOWN)},
		{"attach fails", Config{}, func(int) error { return refused }, is(refused)},
		{"negative interface", Config{Interface: -1}, nil, isConfig("Interface")},
		{"odd block", Config{BlockLen: 5000}, nil, isConfig("BlockLen")},
		{"one block", Config{BlockCount: 1}, nil, isConfig("BlockCount")},
		{"huge ring", Config{BlockLen: 1 << 26, BlockCount: 65}, nil, isConfig("BlockCount")},
		{"negative gathering", Config{Gather: -1}, nil, isConfig("Gather")},
		{"more to gather than there is", Config{BlockCount: 4, Gather: 5}, nil, isConfig("Gather")},
		{"negative timeout", Config{BlockTimeout: -1}, nil, isConfig("BlockTimeout")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := l.receiver.Do(func() error {
				r, err := Open(tt.cfg, tt.attach)
				if err == nil {
					r.Close()
				}
				return err
			})
			if err == nil || !tt.want(err) {
				t.Errorf("Open: %v", err)
			}
		})
	}
}

func TestPermissionError(t *testing.T) {
	var e *PermissionError
	if err := socketError(unix.EPERM); !errors.As(err, &e) || e.Capability != "CAP_NET_RAW" || !errors.Is(err, unix.EPERM) {
		t.Errorf("socketError(EPERM) = %v", err)
	}
	if err := socketError(unix.EMFILE); errors.As(err, &e) || !errors.Is(err, unix.EMFILE) {
		t.Errorf("socketError(EMFILE) = %v", err)
	}
}

func TestNextTimeouts(t *testing.T) {
	l := newLink(t)
	r := openIn(t, l.receiver, Config{Interface: l.receiverIndex, BlockTimeout: time.Millisecond})
	var b Block
	if err := r.Next(&b, 0); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Next without waiting: %v", err)
	}
	start := time.Now()
	if err := r.Next(&b, 30*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Next: %v", err)
	}
	if d := time.Since(start); d < 30*time.Millisecond {
		t.Errorf("Next gave up after %v of 30 ms", d)
	}
	l.send(t, testFrame(nil, 1)) // a timeout loses nothing
	if err := r.Next(&b, -1); err != nil || b.Len() != 1 {
		t.Errorf("Next for ever: %v, %d frames", err, b.Len())
	}
	if err := r.Next(&b, 0); err == nil {
		t.Error("Next overwrote a lease")
	}
	b.Release()
}

func TestCloseUnblocksNext(t *testing.T) {
	l := newLink(t)
	for range 20 {
		r := openIn(t, l.receiver, Config{Interface: l.receiverIndex, BlockLen: 1 << 14, BlockCount: 4, BlockTimeout: time.Millisecond})
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				var b Block
				var f Frame
				for {
					err := r.Next(&b, -1)
					if errors.Is(err, os.ErrClosed) {
						return
					}
					if err != nil {
						t.Errorf("Next: %v", err)
						return
					}
					for b.Next(&f) {
					}
					b.Release()
				}
			})
			wg.Go(func() {
				for range 50 {
					l.send(t, testFrame(nil, 1))
					r.Stats()
				}
				r.Close()
			})
		}
		wg.Wait()
		var b Block
		if err := r.Next(&b, 0); !errors.Is(err, os.ErrClosed) {
			t.Errorf("Next after Close: %v", err)
		}
		if err := r.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
	}
}

func TestLeasesOutliveClose(t *testing.T) {
	l := newLink(t)
	r := openIn(t, l.receiver, Config{Interface: l.receiverIndex, BlockLen: 1 << 14, BlockCount: 3, BlockTimeout: time.Millisecond})
	want := make([][]byte, 3)
	blocks := make([]Block, 3)
	for i := range blocks {
		want[i] = testFrame(nil, i)
		l.send(t, want[i])
		next(t, r, &blocks[i])
	}
	// All blocks are leased: the ring has come round, and there is no more.
	var b Block
	if err := r.Next(&b, 20*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Next with all blocks leased: %v", err)
	}
	l.send(t, want[0])
	if s, err := r.Stats(); err != nil || s.Drops != 1 || s.Packets != 4 {
		t.Errorf("%+v, %v, want 1 of 4 dropped", s, err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range blocks {
		var f Frame
		if !blocks[i].Next(&f) || !bytes.Equal(f.Data, want[i]) {
			t.Errorf("block %d differs after Close", i)
		}
		blocks[i].Release()
		blocks[i].Release() // does nothing
	}
	if n := r.holders.Load(); n != 0 {
		t.Errorf("%d holders left: the ring is still mapped", n)
	}
}

func TestReleaseOutOfOrder(t *testing.T) {
	l := newLink(t)
	r := openIn(t, l.receiver, Config{Interface: l.receiverIndex, BlockLen: 1 << 14, BlockCount: 3, BlockTimeout: time.Millisecond})
	var held, b Block
	var f Frame
	number := 0
	take := func(b *Block) {
		t.Helper()
		l.send(t, testFrame(nil, number))
		next(t, r, b)
		if !b.Next(&f) || !bytes.Equal(f.Data, testFrame(nil, number)) {
			t.Fatalf("frame %d differs", number)
		}
		number++
	}
	for range 10 {
		take(&held)
		take(&b) // while the one before is leased
		b.Release()
		held.Release()
		take(&b)
		b.Release()
	}
}

func TestNoAllocationPerFrame(t *testing.T) {
	l := newLink(t)
	r := openIn(t, l.receiver, Config{Interface: l.receiverIndex, BlockLen: 1 << 14, BlockCount: 512, BlockTimeout: time.Millisecond})
	frame := make([]byte, 1000)
	for range 4000 {
		l.send(t, frame)
	}
	var b Block
	var f Frame
	frames := 0
	allocs := testing.AllocsPerRun(100, func() {
		next(t, r, &b)
		for b.Next(&f) {
			frames++
		}
		b.Release()
	})
	if allocs != 0 || frames < 1000 {
		t.Errorf("%v allocations per block, %d frames", allocs, frames)
	}
	waits := testing.AllocsPerRun(10, func() { r.Next(&b, time.Microsecond); b.Release() })
	if waits != 0 {
		t.Errorf("%v allocations per wait", waits)
	}
}
