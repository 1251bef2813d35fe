package reassembly

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"capstan/pkg/flow"
	"capstan/pkg/packet"
)

// counter is the cheapest handler.
type counter struct{ bytes, gaps int64 }

func (c *counter) Data(_ flow.Direction, ch Chunk) { c.bytes += int64(len(ch.Bytes)) }
func (c *counter) Gap(_ flow.Direction, g Gap)     { c.gaps += g.Len }
func (c *counter) End(flow.Direction, int64)       {}
func (c *counter) Close(int64, CloseReason)        {}

// load is a set of established connections whose servers send.
type load struct {
	a    *Assembler
	all  counter
	segs []packet.Segment
	now  int64
}

func newLoad(flows int) *load {
	l := &load{segs: make([]packet.Segment, flows), now: 1}
	l.a = New(Config{}, func(*Conn, flow.Direction, []byte) Handler { return &l.all })
	payload := make([]byte, 1400)
	for i := range l.segs {
		client := flow.EndpointFrom(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 40000))
		s := &l.segs[i]
		*s = packet.Segment{Seq: uint32(i) * 99991, Ack: 1000, Flags: ack, Payload: payload}
		s.Key, s.Dir = flow.NewKey(serverEnd, client)
		l.next(i)
	}
	return l
}

// next sends the next segment of flow i.
func (l *load) next(i int) {
	s := &l.segs[i]
	l.now += 1000
	l.a.Segment(s, l.now)
	s.Seq += uint32(len(s.Payload))
}

// swapped sends the next two segments of flow i, the second one first.
func (l *load) swapped(i int) {
	s := &l.segs[i]
	n := uint32(len(s.Payload))
	s.Seq += n
	l.now += 1000
	l.a.Segment(s, l.now)
	s.Seq -= n
	l.now += 1000
	l.a.Segment(s, l.now)
	s.Seq += 2 * n
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	for _, c := range []struct {
		name string
		step func(l *load, i int)
	}{
		{"in order", (*load).next},
		{"swapped", (*load).swapped},
		{"retransmitted", func(l *load, i int) {
			l.next(i)
			l.segs[i].Seq -= 1400
			l.next(i)
		}},
		{"bare ACK", func(l *load, i int) {
			s := l.segs[i]
			s.Payload = nil
			l.a.Segment(&s, l.now)
		}},
		{"gap", func(l *load, i int) {
			l.segs[i].Seq += 1400
			l.next(i)
			l.now += 2e9
			l.a.Advance(l.now)
		}},
	} {
		l := newLoad(100)
		i := 0
		warm := func() { c.step(l, i%100); i++ }
		for range 200 {
			warm()
		}
		before := l.all
		if n := testing.AllocsPerRun(1000, warm); n != 0 {
			t.Errorf("%s: %v allocations per step", c.name, n)
		}
		if c.name != "bare ACK" && l.all.bytes == before.bytes {
			t.Errorf("%s: nothing was delivered", c.name)
		}
		balance(t, l.a)
	}
}

// flood is a table full of SYNs, and more to come.
type flood struct {
	a   *Assembler
	s   packet.Segment
	i   uint32
	now int64
}

func newFlood(connections int) *flood {
	f := &flood{a: New(Config{MaxConnections: connections}, func(*Conn, flow.Direction, []byte) Handler { return new(counter) }), now: 1}
	f.s = packet.Segment{Flags: syn, Seq: 1}
	for range connections {
		f.next()
	}
	return f
}

func (f *flood) next() {
	f.i++
	f.now += 1000
	src := flow.Endpoint{Port: uint16(f.i)}
	src.Addr[10], src.Addr[11] = 0xff, 0xff
	binary.BigEndian.PutUint32(src.Addr[12:], f.i*0x9e3779b1)
	f.s.Key, f.s.Dir = flow.NewKey(src, serverEnd)
	f.a.Segment(&f.s, f.now)
}

// A flood of SYNs evicts at the price of a SYN, and allocates nothing.
func TestFloodDoesNotAllocate(t *testing.T) {
	f := newFlood(1000)
	if n := testing.AllocsPerRun(5000, f.next); n != 0 {
		t.Errorf("%v allocations per SYN", n)
	}
	if st := f.a.Stats(); st.Active != 1000 || st.Closed[CloseEvicted] != uint64(f.i)-1000 || len(f.a.conns.open.entries) > 2048 {
		t.Errorf("counted %+v, %d entries", st, len(f.a.conns.open.entries))
	}
	structure(t, f.a)
}

// Connections that come and go reuse the structs of those that went.
func TestConnectionsDoNotAllocateTheirStructs(t *testing.T) {
	l := newLoad(1)
	s := l.segs[0]
	i := uint32(0)
	n := testing.AllocsPerRun(1000, func() {
		i++
		s.Flags, s.Payload = syn, nil
		s.Seq = i * 77777
		l.a.Segment(&s, l.now)
		s.Flags = ack
		s.Seq++
		l.a.Segment(&s, l.now)
	})
	if n != 0 {
		t.Errorf("%v allocations per connection", n)
	}
	if st := l.a.Stats(); st.Closed[CloseReplaced] != 1001 {
		t.Errorf("counted %+v", st)
	}
}

func BenchmarkSegment(b *testing.B) {
	for _, flows := range []int{1000, 50_000} {
		b.Run(fmt.Sprintf("in-order/flows=%d", flows), func(b *testing.B) {
			l := newLoad(flows)
			b.SetBytes(1400)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				l.next(i)
				if i++; i == flows {
					i = 0
				}
			}
			if l.all.gaps != 0 {
				b.Fatal("gaps")
			}
		})
	}
	b.Run("swapped/flows=1000", func(b *testing.B) {
		l := newLoad(1000)
		b.SetBytes(2 * 1400)
		b.ReportAllocs()
		i := 0
		for b.Loop() { // two segments
			l.swapped(i)
			if i++; i == 1000 {
				i = 0
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/2, "ns/segment")
		if l.all.gaps != 0 {
			b.Fatal("gaps")
		}
	})
	b.Run("syn-flood", func(b *testing.B) {
		// The table is full; each SYN makes room for itself.
		f := newFlood(1 << 16)
		b.ReportAllocs()
		for b.Loop() {
			f.next()
		}
	})
	b.Run("short-connections", func(b *testing.B) {
		// SYN, SYN-ACK, ACK, request, response, FIN, FIN, ACK.
		p := newProbe(b, Config{})
		l := counter{}
		a := New(Config{}, func(*Conn, flow.Direction, []byte) Handler { return &l })
		p.a = a
		segs := []*packet.Segment{
			p.segment(C, 0, syn, nil), p.segment(S, 0, synack, nil), p.segment(C, 1, ack, nil),
			p.segment(C, 1, ack, octets(C, 1, 200)), p.segment(S, 1, ack, octets(S, 1, 1000)),
			p.segment(S, 1001, finack, nil), p.segment(C, 201, finack, nil), p.segment(S, 1002, ack, nil),
		}
		for i, n := range [][2]int64{{0, 0}, {1, 0}, {1, 1}, {1, 1}, {201, 1}, {201, 1}, {201, 1002}, {202, 1002}} {
			if s := segs[i]; s.Dir == p.dir(S) {
				s.Ack = p.isn[C] + uint32(n[0])
			} else {
				s.Ack = p.isn[S] + uint32(n[1])
			}
		}
		b.ReportAllocs()
		now := int64(1)
		port := uint16(0)
		for b.Loop() {
			port++
			for _, s := range segs {
				now += 100_000 // a port comes again after its tuple has lingered
				s.Key.B.Port = port
				a.Segment(s, now)
			}
		}
		if st := a.Stats(); st.Closed[CloseFIN] != st.Opened {
			b.Fatalf("%+v", st)
		}
	})
}
