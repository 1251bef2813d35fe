package reassembly

import (
	"bytes"
	"slices"
	"testing"

	"capstan/pkg/packet"
)

// Cases of packets captured more than once and of urgent data.
var copyCases = []tcpCase{
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
	{name: "42 copies are not looked for", play: func(t *testing.T, _ *probe) {
		p := newProbe(t, Config{CopyWindow: -1})
		p.handshake()
		s := p.segment(S, 1, ack, octets(S, 1, 500))
		p.put(s)
		again := *s
		again.Vantage = 7
		p.put(&again)
		if st := p.a.Stats(); st.Copies != 0 || st.Duplicates != 1 || st.DuplicateBytes != 500 {
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
}
