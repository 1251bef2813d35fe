package reassembly

import (
	"testing"
	"time"
)

// another makes the client's initial number another one.
func (p *probe) another() { p.isn[C] += 123_456_789 }

// back undoes another.
func (p *probe) back() { p.isn[C] -= 123_456_789 }

// rest plays a connection whose handshake is over.
func (p *probe) rest() {
	p.c(1, 200)
	p.s(1, 500)
	p.fins()
}

// stray plays a SYN of the client that has another number, and no more of its connection.
func (p *probe) stray() {
	p.another()
	p.put(p.segment(C, 0, syn, nil))
	p.back()
}

var reopenCases = []tcpCase{
	{name: "30 a stray SYN", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 100)
		p.stray()
		p.s(1, 300)
		p.c(101, 100)
		if h := &p.a.lists[listEstablished].first.half[p.dir(C)]; !h.plain {
			t.Error("still waiting for what follows the SYN")
		}
		p.s(301, 200)
		p.fins()
		p.wantClean(0)
		p.wantConns(1)
	}},
	{name: "30 a stray SYN between SYN and SYN-ACK", play: func(t *testing.T, p *probe) {
		p.send(C, 0, 0, syn)
		p.stray()
		p.send(S, 0, 0, synack)
		p.bare(C)
		p.rest()
		p.wantClean(0)
	}},
	{name: "30 a stray SYN before the SYN", play: func(t *testing.T, p *probe) {
		p.stray()
		p.handshake()
		p.rest()
		p.wantClean(0)
		if c := p.streams[0].atOpen; c.InitialSeq[p.dir(C)] != p.isn[C] || c.Start != p.streams[0].chunks[0].Time-3*ms {
			t.Errorf("connection is %+v", c)
		}
	}},
	{name: "30 a stray SYN between SYN-ACK and ACK, twice", play: func(t *testing.T, p *probe) {
		p.send(C, 0, 0, syn)
		p.send(S, 0, 0, synack)
		for range 2 {
			p.another()
			p.put(p.segment(C, 0, syn, nil))
		}
		p.back()
		p.back()
		p.bare(C)
		p.rest()
		p.wantClean(0)
	}},
	{name: "30 a stray SYN on a connection joined midstream", play: func(t *testing.T, p *probe) {
		p.sent = [2]int64{5000, 9000}
		p.c(5000, 100)
		p.stray()
		p.s(9000, 300)
		p.c(5100, 100)
		p.want(0, C, "[0,200)")
		p.want(0, S, "[0,300)")
	}},
	{name: "30 a new connection, its SYN-ACK lost", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 100)
		p.another()
		p.isn[S] += 1 << 30
		p.sent = [2]int64{}
		p.send(C, 0, 0, syn)
		p.wantClosed(0)
		p.lost(S, 0, 0, synack)
		p.bare(C)
		p.wantClosed(0, CloseReplaced)
		p.rest()
		p.wantClean(1)
	}},
	{name: "30 a new connection, the start of both ends' data lost", cfg: Config{AckTolerance: -1}, play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 100)
		p.another()
		p.isn[S] += 1 << 30
		p.sent = [2]int64{}
		p.send(C, 0, 0, syn)
		p.lost(S, 0, 0, synack)
		p.lost(C, 1, 100, 0)
		p.lost(S, 1, 100, 0)
		p.s(101, 400)
		p.wantClosed(0, CloseReplaced)
		p.c(101, 100)
		p.fins()
		p.want(1, C, "gap100 [100,200) END")
		p.wantClosed(1, CloseFIN)
	}},
	{name: "30 SYN and SYN-ACK of a new connection seen twice", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 100)
		p.another()
		p.isn[S] += 1 << 30
		p.sent = [2]int64{}
		for i := range 4 {
			s := p.segment(C, 0, syn, nil)
			if i >= 2 {
				p.sent[C] = 1
				s = p.segment(S, 0, synack, nil)
			}
			s.Vantage = uint32(i)
			p.put(s)
		}
		p.sent = [2]int64{1, 1}
		p.bare(C)
		p.rest()
		p.wantClean(1)
		p.wantConns(2)
		if st := p.a.Stats(); st.Copies != 2 {
			t.Errorf("counted %+v", st)
		}
	}},
	{name: "30 the server's side of the next connection before the client's of this", play: func(t *testing.T, p *probe) {
		p.sent[C] = 1
		p.another()
		p.send(S, 0, 0, synack) // of the next
		p.sent[C] = 201
		late := p.segment(S, 1, ack, octets(S, 1, 500))
		p.back()
		p.isn[S] -= 987_654_321
		p.sent = [2]int64{0, 1}
		p.send(C, 0, 0, syn) // of this
		p.bare(C)
		p.c(1, 200)
		p.put(late)
		p.wait(time.Second)
		p.want(0, C, "[0,200)")
		p.want(0, S, "gap987654321 [987654321,987654821)") // not from its start
	}},
	{name: "30 a SYN that is never answered", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 100)
		p.another()
		p.put(p.segment(C, 0, syn, nil))
		p.put(p.segment(S, 0, rstack, nil)) // refuses another one, if any
		p.wantClosed(0)
		p.closeAll(CloseEndOfCapture)
		p.want(0, C, "[0,100)")
	}},
}
