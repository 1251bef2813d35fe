package reassembly

import (
	"testing"
	"time"

	"capstan/pkg/packet"
)

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
		for _, s := range p.a.conns.open.entries {
			if c := s.value; c != nil && (!c.half[0].plain || !c.half[1].plain) {
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
		p.want(0, S, "")
		p.wait(5 * time.Millisecond)
		p.want(0, S, "gap100 [100,200)")
		p.wantClosed(0, CloseRST)
	}},
	{name: "26 RST behind a FIN behind a hole", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 200)
		p.acks[C] = 1
		p.send(S, 101, 0, finack)
		p.put(p.segment(S, 102, rst, nil))
		p.wait(5 * time.Millisecond)
		p.want(0, S, "gap100 END")
		p.wantClosed(0, CloseRST)
	}},
	{name: "26 RST with the number the peer acknowledged", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 200)
		p.lost(S, 1, 100, 0)
		p.bare(C)
		p.put(p.segment(S, 101, rst, nil))
		p.wait(4 * time.Millisecond)
		p.want(0, S, "")
		p.wait(time.Millisecond)
		p.want(0, S, "gap100")
		p.wantClosed(0, CloseRST)
	}},
	{name: "26 RST before what its sender had acknowledged", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 200)
		first, second := p.segment(S, 1, ack, octets(S, 1, 100)), p.segment(S, 101, ack, octets(S, 101, 100))
		p.lost(S, 1, 200, 0)
		p.acks[C] = 101
		p.bare(C)
		p.acks[C] = 201
		p.put(p.segment(C, 201, rstack, nil)) // nothing else acknowledges the second
		p.wait(2 * time.Millisecond)
		p.put(first)
		p.want(0, S, "[0,100)")
		if p.a.Stats().Closed[CloseRST] != 0 {
			t.Error("closed before all had come")
		}
		p.put(second)
		p.want(0, S, "[0,200)")
		p.wantClosed(0, CloseRST)
		p.put(p.segment(S, 201, ack, octets(S, 201, 10)))
		p.wantConns(1)
		if st := p.a.Stats(); st.LateSegments != 1 || st.DroppedBytes[DropAfterClose] != 10 {
			t.Errorf("counted %+v", st)
		}
	}},
	{name: "26 RST before the request that was answered", play: func(t *testing.T, p *probe) {
		p.handshake()
		request := p.segment(C, 1, ack, octets(C, 1, 200))
		p.lost(C, 1, 200, 0)
		p.s(1, 100)
		p.put(p.segment(S, 101, rst, nil))
		p.wantConns(0)
		p.put(request)
		p.want(0, C, "[0,200)")
		p.want(0, S, "[0,100)")
		p.wantClosed(0, CloseRST)
	}},
	{name: "26 RST before all that its sender had received", play: func(t *testing.T, p *probe) {
		var late [3]*packet.Segment
		late[0] = p.segment(C, 0, syn, nil)
		p.sent[C] = 1
		p.send(S, 0, 0, synack)
		late[1] = p.segment(C, 1, ack, octets(C, 1, 200))
		p.sent[C] = 201
		p.s(1, 100)
		p.put(p.segment(S, 101, rstack, nil))
		for _, s := range late[:2] {
			p.put(s)
		}
		p.want(0, C, "[0,200)")
		p.want(0, S, "[0,100)")
		p.wantClosed(0, CloseRST)
		if st := p.a.Stats(); st.Opened != 1 {
			t.Errorf("counted %+v", st)
		}
	}},
	{name: "26 what ends the wait of a RST", play: func(t *testing.T, p *probe) {
		more := func() *packet.Segment { return p.segment(S, 201, ack, octets(S, 201, 10)) }  // not acknowledged
		again := func() *packet.Segment { return p.segment(C, 201, ack, octets(C, 201, 10)) } // behind the RST
		other := func() *packet.Segment {
			s := p.segment(C, 0, syn, nil)
			s.Seq += 99_999
			return s
		}
		for i, behind := range []func() *packet.Segment{more, other, again} {
			p.handshake()
			p.c(1, 200)
			p.lost(S, 1, 100, 0)
			p.bare(C)
			p.put(p.segment(C, 201, rst, nil))
			p.put(behind())
			p.want(i, S, "gap100")
			p.wantClosed(i, CloseRST)
			p.closeAll(CloseEndOfCapture)
			p.sent, p.acks = [2]int64{}, [2]int64{-1, -1}
			p.isn[C] += 100_000
		}
	}},
	{name: "26 RST at the end of the capture, or twice", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 200)
		p.lost(S, 1, 100, 0)
		p.bare(C)
		p.put(p.segment(C, 201, rst, nil))
		at := p.now
		p.wait(time.Millisecond)
		p.put(p.segment(C, 201, rst, nil))
		p.closeAll(CloseEndOfCapture)
		p.want(0, S, "gap100")
		p.wantClosed(0, CloseRST)
		if got := p.streams[0].closeT; got > at {
			t.Errorf("closed %d ns behind the RST", got-at)
		}
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
	{name: "26 data behind the RST that it preceded", play: func(t *testing.T, p *probe) {
		p.send(C, 0, 0, syn) // the answer is lost
		p.c(1, 200)
		p.put(p.segment(S, 501, rstack, nil))
		p.put(p.segment(S, 1, ack, octets(S, 1, 250)))
		p.put(p.segment(S, 251, ack, octets(S, 251, 250)))
		p.wantClosed(0, CloseRST)
		p.wantConns(1)
		if st := p.a.Stats(); st.Opened != 1 || st.LateSegments != 2 || st.DroppedBytes[DropAfterClose] != 500 {
			t.Errorf("counted %+v", st)
		}
		p.put(p.segment(S, 501, ack, octets(S, 501, 10))) // so the RST was forged
		p.wantConns(2)
	}},
	{name: "26 the last byte behind the RST", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 200)
		p.s(1, 100)
		last := p.segment(S, 101, ack, octets(S, 101, 1))
		p.lost(S, 101, 1, 0)
		p.bare(C)
		p.put(p.segment(S, 102, rst, nil))
		p.wait(5 * time.Millisecond)
		p.put(last)
		p.want(0, S, "[0,100)")
		p.wantClosed(0, CloseRST)
		if st := p.a.Stats(); st.Opened != 1 || st.LateSegments != 1 || st.DroppedBytes[DropAfterClose] != 1 {
			t.Errorf("counted %+v", st)
		}
	}},
	{name: "26 data behind the RST of an end that was not seen", play: func(t *testing.T, p *probe) {
		p.send(C, 0, 0, syn)
		p.isn[S] = 70_000
		refusal := p.segment(S, 501, rstack, nil)
		late := p.segment(S, 1, ack, octets(S, 1, 500))
		p.put(refusal)
		p.put(late)
		p.wantConns(0)
		if st := p.a.Stats(); st.Closed[CloseRST] != 1 || st.Opened != 1 || st.LateSegments != 1 {
			t.Errorf("counted %+v", st)
		}
	}},
	{name: "26 RST far ahead of what was seen", play: func(t *testing.T, p *probe) {
		p.send(C, 0, 0, syn)
		p.c(1, 200)
		p.put(p.segment(S, 1<<20, rstack, nil)) // no late data is that far behind
		p.s(1, 500)
		p.wantConns(2)
		p.want(1, S, "[0,500)")
	}},
	{name: "26 the same tuple again right behind the RST", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 200)
		p.lost(S, 1, 100, 0)
		p.bare(C)
		p.put(p.segment(S, 101, rst, nil))
		p.sent = [2]int64{}
		p.isn[C] += 77777
		p.isn[S] += 50 // below the RST
		p.handshake()
		p.c(1, 200)
		p.s(1, 500)
		p.fins()
		p.wantClean(1)
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
		p.talk()
		if st := p.a.Stats(); st.IgnoredSYN != 1 {
			t.Errorf("counted %+v", st)
		}
	}},
	{name: "30 a second SYN-ACK with another number, which the client takes", play: func(t *testing.T, p *probe) {
		p.send(C, 0, 0, syn)
		p.isn[S] = 3_000_000_000
		p.send(S, 0, 0, synack)
		p.isn[S] = 70_000
		p.send(S, 0, 0, synack)
		p.bare(C)
		p.isn[S] = 3_000_000_000
		p.put(p.segment(S, 0, synack, nil)) // the first one again
		p.isn[S] = 70_000
		p.talk()
		if c := p.streams[0].conn; c.InitialSeq[p.dir(S)] != p.isn[S] {
			t.Errorf("connection is %+v", c)
		}
		if st := p.a.Stats(); st.IgnoredSYN != 2 || st.GapBytes != 0 {
			t.Errorf("counted %+v", st)
		}
	}},
	{name: "30 a server that still has an earlier connection", play: func(t *testing.T, p *probe) {
		p.send(C, 0, 0, syn)
		challenge := p.segment(S, 900, ack, nil)
		challenge.Ack = p.isn[C] + 800_000_000
		p.put(challenge)
		refusal := p.segment(C, 0, rst, nil)
		refusal.Seq = challenge.Ack
		p.put(refusal)
		p.wait(3 * time.Second)
		p.handshake()
		p.c(1, 200)
		p.s(1, 500)
		p.fins()
		p.wantConns(1)
		p.wantClean(0)
		if st := p.a.Stats(); st.IgnoredRST != 1 || st.GapBytes != 0 {
			t.Errorf("counted %+v", st)
		}
	}},
}
