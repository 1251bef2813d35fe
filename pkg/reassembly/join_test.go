package reassembly

import (
	"net/netip"
	"testing"
	"time"

	"capstan/pkg/flow"
)

var joinCases = []tcpCase{
	{name: "05 handshake reordered", play: func(t *testing.T, p *probe) {
		p.lost(C, 0, 0, syn)
		p.send(S, 0, 0, synack)
		p.acks[C] = 1
		p.c(1, 200) // before the ACK, and before the SYN
		p.send(C, 0, 0, syn)
		p.bare(C)
		p.acks[C] = -1
		p.s(1, 500)
		p.fins()
		p.wantClean(0)
		if c := p.streams[0].conn; !c.InitialSeqKnown[p.dir(C)] {
			t.Errorf("connection is %+v", c)
		}
	}},
	{name: "05 data before the SYN", play: func(t *testing.T, p *probe) {
		p.acks[C] = 1
		p.c(1, 100)
		if !p.last().conn.Midstream {
			t.Error("not joined midstream")
		}
		p.send(C, 0, 0, syn)
		p.send(S, 0, 0, synack)
		p.c(101, 100)
		p.acks[C] = -1
		if c := p.last().conn; c.Midstream || !c.ClientKnown || c.Client != p.dir(C) || !c.InitialSeqKnown[0] || !c.InitialSeqKnown[1] {
			t.Errorf("connection is %+v", c)
		}
		p.s(1, 500)
		p.fins()
		p.want(0, C, "[0,200) END")
		p.want(0, S, "[0,500) END")
		p.wantClosed(0, CloseFIN)
	}},
	{name: "17 midstream, request side first", play: func(t *testing.T, p *probe) {
		p.sent = [2]int64{5000, 9000}
		p.c(5000, 100)
		p.s(9000, 300)
		p.c(5100, 100)
		p.want(0, C, "[0,200)")
		p.want(0, S, "[0,300)")
		p.wantBytes(0, C, 5000)
		p.wantBytes(0, S, 9000)
		r := p.last()
		if !r.conn.Midstream || r.conn.ClientKnown {
			t.Errorf("connection is %+v", r.conn)
		}
		if r.chunks[0].Acked != 0 || r.chunks[1].Acked != 100 || r.chunks[2].Acked != 300 {
			t.Errorf("acked %d, %d, %d", r.chunks[0].Acked, r.chunks[1].Acked, r.chunks[2].Acked)
		}
	}},
	{name: "18 midstream, response first", cfg: Config{AckTolerance: -1}, play: func(t *testing.T, p *probe) {
		p.sent = [2]int64{5000, 9000}
		p.s(9000, 300)
		p.lost(C, 5000, 50, 0)
		p.c(5050, 50) // the ACK before told where this side stands
		p.want(0, C, "")
		p.s(9300, 10)
		p.want(0, C, "gap50 [50,100)")
		p.want(0, S, "[0,310)")
		p.put(p.segment(S, 8900, ack, octets(S, 8900, 110)))
		p.want(0, S, "[0,310)")
		if st := p.a.Stats(); st.DroppedBytes[DropBeforeStart] != 100 || st.DuplicateBytes != 10 {
			t.Errorf("counted %+v", st)
		}
	}},
	{name: "18 midstream, keep-alive probe first", cfg: Config{AckTolerance: -1}, play: func(t *testing.T, p *probe) {
		p.sent = [2]int64{5000, 9000}
		p.put(p.segment(C, 4999, ack, nil))
		p.bare(S)
		p.s(9000, 100)
		p.c(5000, 100)
		p.want(0, C, "[0,100)")
		p.want(0, S, "[0,100)")
		p.wantBytes(0, C, 5000)
		if got := p.last().chunks[0].Acked; got != 0 {
			t.Errorf("acked %d, want 0", got)
		}
	}},
	{name: "18 midstream, keep-alive probe, then data", play: func(t *testing.T, p *probe) {
		p.sent = [2]int64{5000, 9000}
		p.put(p.segment(C, 4999, ack, nil))
		p.c(5000, 100)
		p.want(0, C, "[0,100)")
	}},
	{name: "19 only SYN-ACK seen", play: func(t *testing.T, p *probe) {
		p.lost(C, 0, 0, syn)
		p.send(S, 0, 0, synack)
		p.bare(C)
		p.talk()
		if c := p.streams[0].atOpen; c.InitialSeqKnown[p.dir(C)] || !c.InitialSeqKnown[p.dir(S)] {
			t.Errorf("connection is %+v", c)
		}
	}},
	{name: "20 one-sided capture", play: func(t *testing.T, p *probe) {
		p.lost(S, 0, 0, synack)
		p.send(C, 0, 0, syn)
		for i := range int64(5) {
			p.c(1+i*100, 100)
			p.lost(S, 1+i*1000, 1000, 0)
		}
		p.want(0, C, "[0,100)")
		p.wait(4 * time.Millisecond)
		p.want(0, C, "[0,500)")
		p.lost(S, 5001, 1000, 0)
		p.c(501, 100) // nothing is waited for any more
		p.want(0, C, "[0,600)")
		p.want(0, S, "")
		p.wait(5 * time.Minute)
		p.want(0, S, "gap6000") // acknowledged, never seen
		p.wantClosed(0, CloseTimeout)
	}},
	{name: "49 port scan", cfg: Config{MaxConnections: 1000}, play: func(t *testing.T, p *probe) {
		for i := range 20_000 {
			p.ends[S] = flow.EndpointFrom(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 4000))
			p.segmentAt(p.segment(C, 0, syn, nil), p.now)
		}
		st := p.a.Stats()
		if st.Active != 1000 || st.Closed[CloseEvicted] != 19_000 || p.a.conns.count() != 1000 {
			t.Errorf("counted %+v", st)
		}
		p.wantConns(0)
		p.wait(30 * time.Second)
		if st := p.a.Stats(); st.Active != 0 || st.Closed[CloseTimeout] != 1000 {
			t.Errorf("counted %+v", st)
		}
	}},
	{name: "49 a flood evicts itself before the idle", cfg: Config{MaxConnections: 100}, play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 100)
		for i := range 1000 {
			p.ends[S] = flow.EndpointFrom(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 4000))
			p.segmentAt(p.segment(C, 0, syn, nil), p.now)
		}
		p.wantClosed(0)
		balance(t, p.a)
	}},
	{name: "49 eviction takes the least recently active", cfg: Config{MaxConnections: 3}, play: func(t *testing.T, p *probe) {
		use := func(i int) {
			p.ends[C].Port = uint16(40000 + i)
			p.sent = [2]int64{1000, 1000}
			p.c(1000, 10)
			p.now += int64(time.Second)
		}
		use(0)
		use(1)
		use(2)
		use(0)
		use(3)
		p.wantClosed(0)
		p.wantClosed(1, CloseEvicted)
		p.wantClosed(2)
	}},
	{name: "49 eviction takes an old connection before a young SYN", cfg: Config{MaxConnections: 3}, play: func(t *testing.T, p *probe) {
		for i := range 4 {
			p.ends[C].Port = uint16(40000 + i)
			p.sent = [2]int64{1000, 1000}
			if i < 2 {
				p.c(1000, 10)
			} else {
				p.send(C, 0, 0, syn)
			}
			p.now += int64(time.Second)
		}
		p.wantClosed(0, CloseEvicted)
		p.wantClosed(1)
	}},
	{name: "timeout of an idle connection is exact on its own segment", cfg: Config{IdleTimeout: 10 * time.Second}, play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 100)
		at := p.now
		p.now += int64(10*time.Second) - 2*ms
		p.c(101, 100)
		p.wantClosed(0)
		p.now += int64(9700 * time.Millisecond)
		p.ends[C].Port++
		p.c(1, 100) // looks for timeouts, which it does once a second
		p.ends[C].Port--
		p.now += int64(300*time.Millisecond) - 2*ms
		p.c(201, 100)
		p.wantClosed(0, CloseTimeout)
		p.wantConns(3)
		if p.streams[0].closeT != at+int64(10*time.Second)-ms || !p.streams[2].atOpen.Midstream {
			t.Errorf("closed at %d, then %+v", p.streams[0].closeT-at, p.streams[2].atOpen)
		}
	}},
}
