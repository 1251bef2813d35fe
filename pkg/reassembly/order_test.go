package reassembly

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"capstan/pkg/packet"
)

var orderCases = []tcpCase{
	{name: "01 clean exchange", play: func(t *testing.T, p *probe) {
		start := p.now + ms
		p.handshake()
		p.wantConns(0) // no payload, no handler
		p.talk()
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
		p.talk()
		if st := p.a.Stats(); st.Duplicates != 1 || st.DuplicateBytes != 200 {
			t.Errorf("counted %+v", st)
		}
	}},
	{name: "07 retransmission coalesced", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 100)
		p.c(101, 100)
		p.talk()
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
		if st := p.a.Stats(); st.DuplicateBytes != 100 || st.Conflicts != 1 || !p.last().conn.Conflict.Has(p.dir(S)) || p.last().conn.Conflict.Has(p.dir(C)) {
			t.Errorf("counted %+v", st)
		}
	}},
	{name: "09 overlap with delivered bytes, cut otherwise", play: func(t *testing.T, p *probe) {
		p.handshake()
		for i := range int64(4) {
			p.s(1+100*i, 100)
		}
		p.s(51, 300) // the same bytes
		if st := p.a.Stats(); st.Conflicts != 0 || p.last().conn.Conflict.Has(p.dir(S)) {
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
	{name: "10 overlap in the queue", play: func(t *testing.T, _ *probe) { playOverlaps(t, OverlapFirst) }},
	{name: "10 overlap in the queue, the last wins", play: func(t *testing.T, _ *probe) { playOverlaps(t, OverlapLast) }},
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
func playOverlaps(t *testing.T, policy Overlap) {
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
			p := newProbe(t, Config{Overlap: policy})
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
				old := off < c.from || off >= c.from+c.n
				if policy == OverlapFirst {
					old = old || off >= c.wantOld[0] && off < c.wantOld[1]
				}
				if differs && !old {
					want ^= 0xff
				}
				if b != want {
					t.Fatalf("%s: byte at %d is not the %v one", c.name, off, policy)
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
