package reassembly

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"capstan/pkg/flow"
	"capstan/pkg/packet"
)

// tcpCase plays a scenario; the checks every scenario shares follow in TestTCP.
type tcpCase struct {
	name string
	cfg  Config
	play func(t *testing.T, p *probe)
}

func TestTCP(t *testing.T) {
	for _, group := range [][]tcpCase{orderCases, lossCases, joinCases, endCases, synCases} {
		for _, c := range group {
			t.Run(c.name, func(t *testing.T) {
				p := newProbe(t, c.cfg)
				c.play(t, p)
				structure(t, p.a)
				p.a.CloseAll(p.now, CloseEndOfCapture)
				empty(t, p.a)
				for i, r := range p.streams {
					if len(r.closed) != 1 {
						t.Errorf("connection %d was closed %d times", i, len(r.closed))
					}
				}
			})
		}
	}
}

// cleanTail is what a lossless connection with 200 and 500 bytes leaves.
func (p *probe) wantClean(i int) {
	p.t.Helper()
	p.want(i, C, "[0,200) END")
	p.want(i, S, "[0,500) END")
	p.wantBytes(i, C, 1)
	p.wantBytes(i, S, 1)
	p.wantClosed(i, CloseFIN)
	if c := p.streams[i].atOpen; !c.ClientKnown || c.Client != p.dir(C) || c.Midstream {
		p.t.Errorf("connection is %+v", c)
	}
}

var orderCases = []tcpCase{
	{name: "01 clean exchange", play: func(t *testing.T, p *probe) {
		start := p.now + ms
		p.handshake()
		p.wantConns(0) // no payload, no handler
		p.c(1, 200)
		p.s(1, 500)
		p.fins()
		p.wantClean(0)
		r := p.last()
		if r.atOpen.Start != start || !r.atOpen.InitialSeqKnown[0] || !r.atOpen.InitialSeqKnown[1] ||
			r.atOpen.InitialSeq[p.dir(C)] != p.isn[C] || r.atOpen.InitialSeq[p.dir(S)] != p.isn[S] {
			t.Errorf("connection is %+v", r.atOpen)
		}
		if q, s := r.chunks[0], r.chunks[1]; q.Time != start+3*ms || q.Acked != 0 || s.Time != start+4*ms || s.Acked != 200 {
			t.Errorf("chunks have time and ack %d %d, %d %d", q.Time-start, q.Acked, s.Time-start, s.Acked)
		}
		if st := p.a.Stats(); st.Gaps+st.OutOfOrder+st.Duplicates+st.DuplicateBytes+st.Dropped() != 0 || st.Lingering != 1 || st.Closed[CloseFIN] != 1 {
			t.Errorf("counted %+v", st)
		}
	}},
	{name: "02 request in many segments", play: func(t *testing.T, p *probe) {
		p.handshake()
		for i := range int64(200) {
			p.c(1+i, 1)
		}
		p.s(1, 500)
		p.fins()
		p.wantClean(0)
	}},
	{name: "03 adjacent segments swapped", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(101, 100)
		p.c(1, 100)
		p.s(1, 500)
		p.fins()
		p.wantClean(0)
		if st := p.a.Stats(); st.OutOfOrder != 1 || st.Gaps != 0 {
			t.Errorf("counted %+v", st)
		}
	}},
	{name: "04 heavy shuffle within a window", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.acks[C] = 1 // what the peer lacks it doesn't acknowledge
		for _, i := range rand.New(rand.NewPCG(1, 1)).Perm(50) {
			p.s(1+int64(i)*100, 100)
		}
		p.want(0, S, "[0,5000)")
		p.wantBytes(0, S, 1)
		if st := p.a.Stats(); st.QueuedBytes != 0 || st.Gaps != 0 || p.a.charge != 0 {
			t.Errorf("counted %+v, charge %d", st, p.a.charge)
		}
	}},
	{name: "06 exact retransmission", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 200)
		p.c(1, 200)
		p.s(1, 500)
		p.fins()
		p.wantClean(0)
		if st := p.a.Stats(); st.Duplicates != 1 || st.DuplicateBytes != 200 {
			t.Errorf("counted %+v", st)
		}
	}},
	{name: "07 retransmission coalesced", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 100)
		p.c(101, 100)
		p.c(1, 200)
		p.s(1, 500)
		p.fins()
		p.wantClean(0)
	}},
	{name: "08 partial overlap", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 100)
		p.c(51, 150)
		p.s(1, 500)
		p.fins()
		p.wantClean(0)
		if st := p.a.Stats(); st.DuplicateBytes != 50 || st.Duplicates != 0 {
			t.Errorf("counted %+v", st)
		}
	}},
	{name: "09 overlap with delivered bytes", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.s(1, 100)
		other := p.segment(S, 1, ack, bytes.Repeat([]byte{'B'}, 150))
		copy(other.Payload[100:], octets(S, 101, 50))
		p.put(other)
		p.want(0, S, "[0,150)")
		p.wantBytes(0, S, 1)
		if st := p.a.Stats(); st.DuplicateBytes != 100 || st.Conflicts != 1 || !p.last().conn.Conflict[p.dir(S)] || p.last().conn.Conflict[p.dir(C)] {
			t.Errorf("counted %+v", st)
		}
	}},
	{name: "09 overlap with delivered bytes, cut otherwise", play: func(t *testing.T, p *probe) {
		p.handshake()
		for i := range int64(4) {
			p.s(1+100*i, 100)
		}
		p.s(51, 300) // the same bytes
		if st := p.a.Stats(); st.Conflicts != 0 || p.last().conn.Conflict[p.dir(S)] {
			t.Errorf("counted %+v", st)
		}
		forged := p.segment(S, 51, ack, octets(S, 51, 300))
		forged.Payload[52] ^= 1 // among the first bytes of the second segment
		p.put(forged)
		if st := p.a.Stats(); st.Conflicts != 1 {
			t.Errorf("counted %+v", st)
		}
		p.want(0, S, "[0,400)")
		p.wantBytes(0, S, 1)
	}},
	{name: "10 overlap in the queue", play: playOverlaps},
	{name: "31 keep-alive probe", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 200)
		p.put(p.segment(C, 200, ack, nil))
		p.bare(S)
		p.put(p.segment(C, 200, ack, []byte{0}))
		p.bare(S)
		p.s(1, 500)
		p.fins()
		p.wantClean(0)
		if st := p.a.Stats(); st.Conflicts != 0 || st.Gaps != 0 {
			t.Errorf("counted %+v", st)
		}
	}},
	{name: "32 zero window and probe", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 100)
		closed := p.segment(S, 1, ack, nil)
		closed.Window = 0
		p.put(closed)
		p.c(101, 1) // the probe is real data
		p.put(closed)
		p.c(101, 1)
		p.c(101, 100)
		p.s(1, 500)
		p.fins()
		p.wantClean(0)
	}},
	{name: "42 every segment captured twice", play: func(t *testing.T, p *probe) {
		p.twice = true
		p.handshake()
		p.c(101, 100)
		p.c(1, 100)
		p.s(1, 500)
		p.fins()
		p.wantClean(0)
		p.wantConns(1)
		if st := p.a.Stats(); st.Opened != 1 || st.Duplicates != 3 || st.DuplicateBytes != 700 || st.Gaps != 0 {
			t.Errorf("counted %+v", st)
		}
	}},
	{name: "42 every packet captured at three points", play: func(t *testing.T, p *probe) {
		// A bridge, its port and the card: the same packets, the payload and the
		// handshake counted once.
		see := func(s *packet.Segment) {
			p.put(s)
			for v := range uint32(2) {
				c := *s
				c.Vantage = v + 2
				p.now -= ms - 3000
				p.put(&c)
			}
		}
		send := func(x side, off int64, n int, flags packet.Flags) {
			s := p.segment(x, off, flags, octets(x, off, n))
			s.Vantage = 1
			p.lost(x, off, n, flags)
			see(s)
		}
		send(C, 0, 0, syn)
		send(S, 0, 0, synack)
		send(C, 1, 0, ack)
		send(C, 101, 100, ack)
		send(C, 1, 100, ack)
		send(S, 1, 500, ack)
		send(S, 501, 0, finack)
		send(C, 201, 0, finack)
		p.wantClean(0)
		p.wantConns(1)
		if st := p.a.Stats(); st.Opened != 1 || st.Copies != 14 || st.CopyBytes != 1400 || st.Duplicates+st.DuplicateBytes+st.LateSegments+st.Conflicts != 0 {
			t.Errorf("counted %+v", st)
		}
	}},
	{name: "42 a packet captured twice at one point", play: func(t *testing.T, p *probe) {
		p.handshake()
		s := p.segment(S, 1, ack, octets(S, 1, 500))
		s.ID = 77
		p.put(s)
		p.put(s)
		if st := p.a.Stats(); st.Copies != 1 || st.CopyBytes != 500 || st.Duplicates != 0 {
			t.Errorf("counted %+v", st)
		}
	}},
	{name: "42 what is no copy", play: func(t *testing.T, p *probe) {
		p.handshake()
		first := p.segment(S, 1, ack, octets(S, 1, 500))
		first.ID, first.Vantage, first.TSVal = 77, 1, 5
		p.put(first)
		for i, change := range []func(*packet.Segment){
			func(s *packet.Segment) { s.ID++ },    // sent again
			func(s *packet.Segment) { s.TSVal++ }, // sent again
			func(s *packet.Segment) { s.ID, s.Vantage = 0, 1 },
			func(s *packet.Segment) { s.Payload[0] ^= 1 }, // forged
			func(s *packet.Segment) { p.now += 200 * ms },
		} {
			again := *first
			again.Payload, again.Vantage = bytes.Clone(first.Payload), 2
			change(&again)
			p.put(&again)
			if st := p.a.Stats(); st.Copies != 0 || st.Duplicates != uint64(i+1) {
				t.Errorf("change %d: counted %+v", i, st)
			}
		}
		cut := *first
		cut.ID, cut.Payload, cut.Missing = 78, first.Payload[:100], 400
		p.put(&cut)
		whole := *first
		whole.ID, whole.Vantage = 78, 2
		p.put(&whole) // more was captured of this one
		if st := p.a.Stats(); st.Copies != 0 || st.Conflicts != 1 {
			t.Errorf("counted %+v", st)
		}
	}},
	{name: "37 urgent byte in line", play: func(t *testing.T, p *probe) {
		p.handshake()
		s := p.segment(S, 1, ack|packet.FlagURG, octets(S, 1, 100))
		s.Urgent = 50
		p.put(s)
		p.want(0, S, "[0,100)")
		p.wantBytes(0, S, 1)
		if st := p.a.Stats(); st.UrgentSegments != 1 || st.Dropped() != 0 {
			t.Errorf("counted %+v", st)
		}
	}},
	{name: "37 urgent byte out of band", cfg: Config{UrgentOutOfBand: true}, play: func(t *testing.T, p *probe) {
		p.handshake()
		all := octets(S, 1, 400)
		put := func(off int64, n int, urgent uint16) {
			s := p.segment(S, off, ack|packet.FlagURG, all[off-1:off-1+int64(n)])
			if s.Urgent = urgent; urgent == 0 {
				s.Flags = ack
			}
			p.put(s)
		}
		p.acks[C] = 1
		put(1, 100, 100) // its last byte
		put(101, 100, 1) // its first byte
		put(301, 100, 50)
		put(201, 100, 0)
		p.acks[C] = 401
		p.bare(C)
		p.c(1, 10)
		want := slices.Concat(all[:99], all[101:349], all[350:])
		r := p.last()
		if got := r.data[p.dir(S)]; !bytes.Equal(got, want) || len(r.gaps) != 0 {
			t.Errorf("%d bytes of %d, or the wrong ones", len(got), len(want))
		}
		if st := p.a.Stats(); st.UrgentSegments != 3 || st.DroppedBytes[DropUrgent] != 3 || st.Gaps != 0 {
			t.Errorf("counted %+v", st)
		}
		if last := r.chunks[len(r.chunks)-1]; last.Acked != 397 {
			t.Errorf("acked %d of 397", last.Acked)
		}
	}},
	{name: "46 odd options are no matter here", play: func(t *testing.T, p *probe) {
		// packet.Segment has no options; what is left to show is that the
		// other flag bits neither help nor harm.
		p.handshake()
		p.send(C, 1, 200, ack|packet.FlagURG|packet.FlagECE|packet.FlagCWR|packet.FlagPSH)
		p.s(1, 500)
		p.fins()
		p.wantClean(0)
	}},
}

// playOverlaps puts a segment over a queued one in each of the seven positions.
func playOverlaps(t *testing.T, p *probe) {
	const from, n = 101, 100
	for _, c := range []struct {
		name        string
		from, n     int64
		duplicate   uint64
		wantOld     [2]int64 // range that has the old bytes
		wantChanged bool
	}{
		{"same start, ends earlier", 101, 50, 50, [2]int64{101, 201}, false},
		{"same start, same end", 101, 100, 100, [2]int64{101, 201}, false},
		{"same start, ends later", 101, 150, 100, [2]int64{101, 201}, true},
		{"starts earlier, ends earlier", 51, 100, 50, [2]int64{101, 201}, true},
		{"starts earlier, ends later", 51, 200, 100, [2]int64{101, 201}, true},
		{"starts later, ends earlier", 126, 50, 50, [2]int64{101, 201}, false},
		{"starts later, ends later", 151, 100, 50, [2]int64{101, 201}, true},
	} {
		for _, differs := range []bool{false, true} {
			p := newProbe(t, Config{})
			p.handshake()
			p.acks[S] = 1
			p.c(from, n)
			over := p.segment(C, c.from, ack, octets(C, c.from, int(c.n)))
			if differs {
				for i := range over.Payload {
					over.Payload[i] ^= 0xff
				}
			}
			p.put(over)
			structure(t, p.a)
			p.c(1, int(c.from-1))
			if c.from > from {
				p.c(1, from-1)
			}
			r := p.last()
			end := max(from+n, c.from+c.n)
			p.want(0, C, fmt.Sprintf("[0,%d)", end-1))
			for i, b := range r.data[p.dir(C)] {
				off := int64(i + 1)
				want := octet(C, off)
				if old := off >= c.wantOld[0] && off < c.wantOld[1]; differs && !old && off >= c.from {
					want ^= 0xff
				}
				if b != want {
					t.Fatalf("%s: byte at %d is not the first one", c.name, off)
				}
			}
			st := p.a.Stats()
			if (st.Conflicts == 1) != differs || st.Conflicts > 1 {
				t.Errorf("%s: %d conflicts, differs %v", c.name, st.Conflicts, differs)
			}
			if st.QueuedBytes != 0 || c.from <= from && st.DuplicateBytes != c.duplicate {
				t.Errorf("%s: %d duplicate bytes, want %d", c.name, st.DuplicateBytes, c.duplicate)
			}
		}
	}
}

var lossCases = []tcpCase{
	{name: "11 lost segment, the peer's ACK passes it", cfg: Config{AckTolerance: -1}, play: func(t *testing.T, p *probe) {
		p.handshake()
		p.s(1, 1000)
		p.lost(S, 1001, 1000, 0)
		p.s(2001, 1000)
		p.want(0, S, "[0,1000)")
		p.bare(C)
		p.want(0, S, "[0,1000) gap1000 [2000,3000)")
		p.wantBytes(0, S, 1)
		if g := p.last().gaps[0]; g.Offset != 1000 || g.Time != p.now-ms {
			t.Errorf("gap is %+v, now %d", g, p.now)
		}
	}},
	{name: "11 ACK captured before the data it answers", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.s(1, 1000)
		p.lost(S, 1001, 1000, 0)
		p.s(2001, 1000)
		p.bare(C)
		p.s(1001, 1000) // within the tolerance
		p.want(0, S, "[0,3000)")
		p.lost(S, 3001, 1000, 0)
		p.s(4001, 1000)
		p.bare(C)
		for range 4 {
			p.bare(C) // more ACKs put nothing off
		}
		p.want(0, S, "[0,3000)")
		p.bare(C)
		p.want(0, S, "[0,3000) gap1000 [4000,5000)")
		p.s(3001, 1000) // too late
		p.want(0, S, "[0,3000) gap1000 [4000,5000)")
		p.wantBytes(0, S, 1)
	}},
	{name: "12 lost, retransmitted later", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.s(1, 1000)
		p.acks[C] = 1001
		p.s(2001, 1000)
		for range 3 {
			p.bare(C)
		}
		p.wait(200 * time.Millisecond)
		p.s(1001, 1000)
		p.want(0, S, "[0,3000)")
		p.wantBytes(0, S, 1)
		if st := p.a.Stats(); st.Gaps != 0 {
			t.Errorf("counted %+v", st)
		}
	}},
	{name: "13 lost, no ACKs, time cap", play: func(t *testing.T, p *probe) {
		p.send(S, 0, 0, synack)
		p.s(1, 1000)
		p.s(2001, 1000)
		p.wait(999 * time.Millisecond)
		p.want(0, S, "[0,1000)")
		p.wait(time.Millisecond)
		p.want(0, S, "[0,1000) gap1000 [2000,3000)")
	}},
	{name: "13 time cap is each hole's own", play: func(t *testing.T, p *probe) {
		p.send(S, 0, 0, synack)
		p.s(1, 1000)
		p.s(2001, 1000)
		p.wait(600 * time.Millisecond)
		p.s(4001, 1000)
		p.wait(600 * time.Millisecond)
		p.want(0, S, "[0,1000) gap1000 [2000,3000)")
		p.wait(400 * time.Millisecond)
		p.want(0, S, "[0,1000) gap1000 [2000,3000) gap1000 [4000,5000)")
	}},
	{name: "13 lost, no ACKs, byte cap", cfg: Config{MaxHoleBytes: 10 * (1000 + pieceCharge)}, play: func(t *testing.T, p *probe) {
		p.send(S, 0, 0, synack)
		p.s(1, 1000)
		for i := range int64(10) {
			p.s(2001+i*1000, 1000)
		}
		p.want(0, S, "[0,1000)")
		p.s(12001, 1)
		p.want(0, S, "[0,1000) gap1000 [2000,12001)")
	}},
	{name: "14 gap at the end, FIN beyond it", cfg: Config{AckTolerance: -1}, play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 200)
		p.lost(S, 1, 500, 0)
		p.send(S, 501, 0, finack)
		p.wantConns(1)
		p.want(0, S, "")
		p.send(C, 201, 0, finack)
		p.want(0, S, "gap500 END")
		p.want(0, C, "[0,200) END")
		p.wantClosed(0, CloseFIN)
	}},
	{name: "14 gap at the end, FIN lost too", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 200)
		p.lost(S, 1, 500, finack)
		p.send(C, 201, 0, finack)
		p.a.CloseAll(p.now, CloseEndOfCapture)
		p.want(0, S, "gap500")
		p.want(0, C, "[0,200) END")
	}},
	{name: "14 FIN lost, no data lost", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 200)
		p.s(1, 500)
		p.lost(S, 501, 0, finack)
		p.bare(C)
		p.bare(S)
		p.wait(2 * time.Second)
		p.a.CloseAll(p.now, CloseEndOfCapture)
		p.want(0, S, "[0,500)")
	}},
	{name: "14 acknowledged by both ends, never seen", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 200)
		p.lost(S, 1, 500, 0)
		p.c(201, 100)
		p.want(0, S, "")
		p.bare(S)
		p.wait(5 * time.Millisecond)
		p.want(0, S, "gap500")
		p.s(501, 100)
		p.want(0, S, "gap500 [500,600)")
	}},
	{name: "15 leading gap", cfg: Config{AckTolerance: -1}, play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 200)
		p.lost(S, 1, 300, 0)
		p.s(301, 200)
		p.bare(C)
		p.want(0, S, "gap300 [300,500)")
		if g := p.last().gaps[0]; g.Offset != 0 {
			t.Errorf("gap is %+v", g)
		}
	}},
	{name: "16 huge gaps", cfg: Config{AckTolerance: -1}, play: func(t *testing.T, p *probe) {
		p.handshake()
		p.s(1, 100)
		off := int64(101)
		want := "[0,100)"
		for range 8 {
			p.lost(S, off, 700_000_000, 0)
			off += 700_000_000
			p.s(off, 100)
			p.bare(C)
			off += 100
			want += fmt.Sprintf(" gap700000000 [%d,%d)", off-101, off-1)
		}
		p.want(0, S, want)
		p.wantBytes(0, S, 1)
		if st := p.a.Stats(); st.GapBytes != 5_600_000_000 {
			t.Errorf("counted %+v", st)
		}
	}},
	{name: "16 implausible jump", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.s(1, 100)
		p.put(p.segment(S, 1<<30+102, ack, []byte("stray")))
		p.wait(10 * time.Second)
		p.s(101, 100)
		p.want(0, S, "[0,200)")
		if st := p.a.Stats(); st.DroppedBytes[DropOutOfWindow] != 5 {
			t.Errorf("counted %+v", st)
		}
	}},
	{name: "16 a stray ACK loses nothing", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.s(1, 100)
		p.acks[C] = 1_000_000
		p.bare(C)
		p.wait(10 * time.Second)
		p.s(101, 100)
		p.want(0, S, "[0,200)")
	}},
	{name: "21 sequence wrap", play: func(t *testing.T, p *probe) {
		p.isn = [2]uint32{0xffffff00, 0xfffffffe}
		p.handshake()
		p.c(101, 100)
		p.c(1, 100)
		for i := range int64(5) {
			p.s(1+i*100, 100)
		}
		p.c(151, 50)
		p.fins()
		p.wantClean(0)
	}},
	{name: "41 snap length, in order", play: func(t *testing.T, p *probe) {
		p.handshake()
		for i := range int64(3) {
			s := p.segment(S, 1+i*1000, ack, octets(S, 1+i*1000, 100))
			s.Missing = 900
			p.lost(S, 1+i*1000, 1000, 0)
			p.put(s)
			p.put(s)
		}
		p.want(0, S, "[0,100) gap900 [1000,1100) gap900 [2000,2100) gap900")
		p.wantBytes(0, S, 1)
		if g := p.last().gaps[1]; g.Time != p.last().chunks[1].Time || g.Acked != 0 {
			t.Errorf("gap is %+v", g)
		}
		if st := p.a.Stats(); st.MissingBytes != 5400 || st.GapBytes != 2700 {
			t.Errorf("counted %+v", st)
		}
	}},
	{name: "41 snap length, out of order", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.acks[C] = 1
		for _, i := range []int64{2, 1, 0} {
			s := p.segment(S, 1+i*1000, ack, octets(S, 1+i*1000, 100))
			s.Missing = 900
			p.put(s)
			p.put(s)
		}
		p.want(0, S, "[0,100) gap900 [1000,1100) gap900 [2000,2100) gap900")
		p.wantBytes(0, S, 1)
	}},
	{name: "41 snap length leaves no payload, FIN", play: func(t *testing.T, p *probe) {
		p.handshake()
		s := p.segment(S, 1, finack, nil)
		s.Missing = 900
		p.put(s)
		p.want(0, S, "gap900 END")
	}},
	{name: "48 holes in many flows", cfg: Config{MaxQueuedTotal: 64 << 10}, play: func(t *testing.T, p *probe) {
		const flows = 5000
		for i := range flows {
			p.ends[C] = flow.EndpointFrom(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 4000))
			p.sent = [2]int64{}
			p.send(C, 0, 0, syn)
			p.send(S, 0, 0, synack)
			p.now -= 2 * ms // holes stay young
			p.c(2, 1)
			p.now -= ms
		}
		structure(t, p.a)
		// Each piece counts 65 bytes, so a thousand and eight fit.
		const fit = 64 << 10 / (pieceCharge + 1)
		if st := p.a.Stats(); st.Shed != flows-fit || st.Gaps != st.Shed || st.QueuedBytes != fit {
			t.Errorf("%d of %d holes shed, %d left", st.Shed, flows, st.QueuedBytes)
		}
		p.want(0, C, "gap1 [1,2)") // the oldest went
	}},
	{name: "50 clock steps backwards", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.s(1, 1000)
		p.now -= int64(time.Hour)
		p.s(2001, 1000)
		p.s(1001, 1000)
		p.want(0, S, "[0,3000)")
		for range maxLate {
			p.bare(C)
		}
		p.s(4001, 1000)
		p.wait(900 * time.Millisecond)
		p.want(0, S, "[0,3000)") // no early flush
		p.wait(200 * time.Millisecond)
		p.want(0, S, "[0,3000) gap1000 [4000,5000)") // and no late one
	}},
	{name: "50 equal and slightly descending times", play: func(t *testing.T, p *probe) {
		p.handshake()
		for i := range int64(50) {
			p.now -= 2 * ms
			p.s(1+(i^1)*100, 100)
		}
		p.want(0, S, "[0,5000)")
		p.wantBytes(0, S, 1)
	}},
}
