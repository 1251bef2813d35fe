package reassembly

import (
	"net/netip"
	"testing"
	"time"

	"capstan/pkg/flow"
	"capstan/pkg/packet"
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
		p.c(1, 200)
		p.s(1, 500)
		p.fins()
		p.wantClean(0)
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
		p.want(0, C, "[0,500)")
		p.want(0, S, "")
		p.wait(5 * time.Minute)
		p.want(0, S, "gap4000") // acknowledged, never seen
		p.wantClosed(0, CloseTimeout)
	}},
	{name: "49 port scan", cfg: Config{MaxConnections: 1000}, play: func(t *testing.T, p *probe) {
		for i := range 20_000 {
			p.ends[S] = flow.EndpointFrom(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 4000))
			p.a.Segment(p.segment(C, 0, syn, nil), p.now)
		}
		st := p.a.Stats()
		if st.Active != 1000 || st.Closed[CloseEvicted] != 19_000 || p.a.conns.count != 1000 {
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
			p.a.Segment(p.segment(C, 0, syn, nil), p.now)
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

var endCases = []tcpCase{
	{name: "22 FIN carrying the last data", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 200)
		p.send(S, 1, 500, finack)
		p.want(0, S, "[0,500) END")
		p.send(C, 201, 0, finack)
		p.bare(S)
		p.wantClean(0)
	}},
	{name: "23 FIN before missing data arrives", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 200)
		p.acks[C] = 1
		p.send(S, 501, 0, finack)
		p.want(0, S, "")
		p.s(251, 250)
		p.s(1, 250)
		p.want(0, S, "[0,500) END")
		p.acks[C] = -1
		p.send(C, 201, 0, finack)
		p.wantClean(0)
	}},
	{name: "24 FIN retransmitted", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 200)
		p.s(1, 500)
		for range 3 {
			p.send(S, 501, 0, finack)
		}
		for range 3 {
			p.send(C, 201, 0, finack)
			p.bare(S)
		}
		p.wantClean(0)
		p.wait(time.Minute)
		p.send(S, 501, 0, finack) // no ghost, however late
		if st := p.a.Stats(); st.Opened != 1 || st.LateSegments != 5 || st.StraySegments != 1 {
			t.Errorf("counted %+v", st)
		}
	}},
	{name: "25 half-close", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 200)
		p.send(C, 201, 0, finack)
		for i := range int64(5) {
			p.s(1+i*100, 100)
			p.bare(C)
		}
		p.wantClosed(0)
		for _, s := range p.a.conns.slots {
			if c := s.c; c != nil && (!c.half[0].plain || !c.half[1].plain) {
				t.Error("off the fast path")
			}
		}
		if ch := p.last().chunks; ch[len(ch)-1].Acked != 200 {
			t.Errorf("acked %d of 200", ch[len(ch)-1].Acked)
		}
		p.send(S, 501, 0, finack)
		p.wantClean(0)
	}},
	{name: "25 half-close without data is told when there is some", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.send(C, 1, 0, finack)
		p.s(1, 500)
		p.want(0, C, "END")
		p.want(0, S, "[0,500)")
	}},
	{name: "25 data after the FIN", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 200)
		p.send(C, 201, 0, finack)
		p.put(p.segment(C, 151, ack, octets(C, 151, 100)))
		p.put(p.segment(C, 202, ack, octets(C, 202, 10)))
		p.s(1, 500)
		p.send(S, 501, 0, finack)
		p.wantClean(0)
		if st := p.a.Stats(); st.DroppedBytes[DropAfterFIN] != 60 || st.DuplicateBytes != 50 {
			t.Errorf("counted %+v", st)
		}
	}},
	{name: "26 RST after unacked data", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 200)
		p.put(p.segment(C, 201, rst, nil))
		p.want(0, C, "[0,200)")
		p.want(0, S, "")
		p.wantClosed(0, CloseRST)
	}},
	{name: "26 RST behind a hole", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 200)
		p.acks[C] = 1
		p.s(101, 100)
		p.put(p.segment(S, 201, rst, nil))
		p.want(0, S, "gap100 [100,200)")
		p.wantClosed(0, CloseRST)
	}},
	{name: "26 RST behind a FIN behind a hole", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 200)
		p.acks[C] = 1
		p.send(S, 101, 0, finack)
		p.put(p.segment(S, 102, rst, nil))
		p.want(0, S, "gap100 END")
		p.wantClosed(0, CloseRST)
	}},
	{name: "26 RST with the number the peer acknowledged", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 200)
		p.lost(S, 1, 100, 0)
		p.bare(C)
		p.put(p.segment(S, 101, rst, nil))
		p.want(0, S, "gap100")
		p.wantClosed(0, CloseRST)
	}},
	{name: "26 connection refused", play: func(t *testing.T, p *probe) {
		p.send(C, 0, 0, syn)
		s := p.segment(S, 0, rstack, nil)
		s.Seq = 0
		bad := *s
		bad.Ack++
		p.put(&bad)
		if st := p.a.Stats(); st.IgnoredRST != 1 || st.Active != 1 {
			t.Errorf("counted %+v", st)
		}
		p.put(s)
		if st := p.a.Stats(); st.Closed[CloseRST] != 1 || st.Active != 0 {
			t.Errorf("counted %+v", st)
		}
		p.wantConns(0)
	}},
	{name: "27 RST out of place", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 100)
		p.s(1, 500)
		for _, off := range []int64{100, 102, 5000, 1 << 31, -1000} {
			p.put(p.segment(C, off, rst, nil))
		}
		p.c(101, 100)
		p.fins()
		p.wantClean(0)
		if st := p.a.Stats(); st.IgnoredRST != 5 {
			t.Errorf("counted %+v", st)
		}
	}},
	{name: "27 forged RST, its sender goes on", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 200)
		p.s(1, 100)
		p.put(p.segment(S, 101, rst, nil))
		p.wantClosed(0, CloseRST)
		p.c(201, 10) // the other end's data proves nothing
		p.wantConns(1)
		p.s(101, 400)
		p.wantConns(2)
		p.want(1, S, "[0,400)")
		p.wantBytes(1, S, 101)
	}},
	{name: "28 RST with text", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 200)
		p.put(p.segment(S, 1, rst, []byte("Go away, we're not home")))
		p.want(0, S, "")
		p.wantClosed(0, CloseRST)
		if st := p.a.Stats(); st.DroppedBytes[DropRST] != 23 {
			t.Errorf("counted %+v", st)
		}
	}},
	{name: "29 close, then the same tuple again", play: func(t *testing.T, p *probe) {
		for i := range 2 {
			p.handshake()
			p.c(1, 200)
			p.s(1, 500)
			p.fins()
			p.wantClean(i)
			p.sent = [2]int64{}
			p.isn[C] += 77777
			p.isn[S] += 99999
		}
		if st := p.a.Stats(); st.Closed[CloseReplaced] != 0 || st.Closed[CloseFIN] != 2 {
			t.Errorf("counted %+v", st)
		}
	}},
	{name: "29 close, late handshake segments", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 200)
		p.s(1, 500)
		p.fins()
		p.put(p.segment(C, 0, syn, nil))
		p.put(p.segment(S, 0, synack, nil))
		p.put(p.segment(C, 201, ack, nil))
		p.put(p.segment(S, 1, ack, octets(S, 1, 500)))
		p.put(p.segment(S, 501, rst, nil))
		p.wantClean(0)
		if st := p.a.Stats(); st.Opened != 1 || st.DroppedBytes[DropAfterClose] != 500 {
			t.Errorf("counted %+v", st)
		}
		p.wait(5 * time.Second)
		empty(t, p.a)
	}},
	{name: "30 SYN on a live tuple", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 200)
		p.acks[C] = 1
		p.s(51, 100)
		p.put(p.segment(C, 0, syn, nil)) // sent again: changes nothing
		p.wantClosed(0)
		p.sent, p.acks[C] = [2]int64{}, -1
		p.isn = [2]uint32{4_000_000, 5_000_000}
		p.handshake()
		p.want(0, S, "gap50 [50,150)")
		p.wantClosed(0, CloseReplaced)
		p.c(1, 200)
		p.s(1, 500)
		p.fins()
		p.wantClean(1)
	}},
	{name: "30 SYN-ACK of a new connection, its SYN lost", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 200)
		p.isn = [2]uint32{4_000_000, 5_000_000}
		p.sent = [2]int64{1, 0}
		p.send(S, 0, 0, synack)
		p.wantClosed(0, CloseReplaced)
		p.c(1, 200)
		p.s(1, 500)
		p.fins()
		p.wantClean(1)
	}},
	{name: "30 a second SYN-ACK with another number", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.put(&packet.Segment{Key: p.segment(S, 0, 0, nil).Key, Dir: p.dir(S), Seq: 12345, Ack: p.isn[C] + 1, Flags: synack})
		p.c(1, 200)
		p.s(1, 500)
		p.fins()
		p.wantClean(0)
		if st := p.a.Stats(); st.IgnoredSYN != 1 {
			t.Errorf("counted %+v", st)
		}
	}},
}

var synCases = []tcpCase{
	{name: "33 SYN data accepted", play: func(t *testing.T, p *probe) {
		s := p.segment(C, 0, syn, octets(C, 1, 200))
		p.put(s)
		p.put(s)
		p.wantConns(0)
		p.sent[C] = 201
		p.send(S, 0, 0, synack)
		p.want(0, C, "[0,200)")
		if ch := p.last().chunks[0]; ch.Acked != -1 || ch.Time != p.now-2*ms {
			t.Errorf("chunk is %+v", ch)
		}
		p.s(1, 500)
		p.fins()
		p.wantClean(0)
	}},
	{name: "33 SYN data accepted, SYN-ACK lost", play: func(t *testing.T, p *probe) {
		p.put(p.segment(C, 0, syn, octets(C, 1, 100)))
		p.sent = [2]int64{101, 1}
		p.c(101, 100)
		p.s(1, 500)
		p.fins()
		p.wantClean(0)
	}},
	{name: "34 SYN data not accepted", play: func(t *testing.T, p *probe) {
		p.put(p.segment(C, 0, syn, octets(C, 1, 100)))
		p.sent[C] = 1
		p.send(S, 0, 0, synack)
		p.wantConns(0)
		p.c(1, 200)
		p.s(1, 500)
		p.fins()
		p.wantClean(0)
		if st := p.a.Stats(); st.DroppedBytes[DropSYN] != 100 || st.QueuedBytes != 0 {
			t.Errorf("counted %+v", st)
		}
	}},
	{name: "34 SYN data never answered", play: func(t *testing.T, p *probe) {
		p.put(p.segment(C, 0, syn, octets(C, 1, 100)))
		p.wait(30 * time.Second)
		p.wantConns(0)
		if st := p.a.Stats(); st.DroppedBytes[DropSYN] != 100 || st.QueuedBytes != 0 || st.Closed[CloseTimeout] != 1 {
			t.Errorf("counted %+v", st)
		}
	}},
	{name: "34 flood of SYNs with data", cfg: Config{MaxQueuedTotal: 16 << 10}, play: func(t *testing.T, p *probe) {
		for i := range 1000 {
			p.ends[C].Port = uint16(10_000 + i)
			p.put(p.segment(C, 0, syn, octets(C, 1, 1000)))
		}
		structure(t, p.a)
		if st := p.a.Stats(); st.QueuedBytes > 16<<10 || st.Gaps != 0 {
			t.Errorf("counted %+v", st)
		}
	}},
	{name: "35 data on SYN-ACK", play: func(t *testing.T, p *probe) {
		p.send(C, 0, 0, syn)
		p.put(p.segment(S, 0, synack, octets(S, 1, 300)))
		p.want(0, S, "[0,300)")
		p.sent[S] = 301
		p.c(1, 200)
		p.s(301, 200)
		p.fins()
		p.wantClean(0)
	}},
	{name: "36 split handshake", play: func(t *testing.T, p *probe) {
		p.send(C, 0, 0, syn)
		p.put(p.segment(S, 7, ack, nil)) // a bare ACK with any number
		p.send(S, 0, 0, syn)
		p.put(p.segment(C, 0, synack, nil))
		p.put(p.segment(S, 1, ack, nil))
		p.c(1, 200)
		p.s(1, 500)
		p.fins()
		p.wantClean(0)
	}},
	{name: "36 simultaneous open", play: func(t *testing.T, p *probe) {
		p.send(C, 0, 0, syn)
		p.send(S, 0, 0, syn)
		p.put(p.segment(S, 0, synack, nil))
		p.put(p.segment(C, 0, synack, nil))
		p.c(1, 200)
		p.s(1, 500)
		p.fins()
		p.wantClean(0)
	}},
}
