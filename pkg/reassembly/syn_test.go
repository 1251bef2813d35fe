package reassembly

import (
	"testing"
	"time"

	"capstan/pkg/packet"
)

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
		p.talk()
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
	{name: "a SYN that takes no number", play: func(t *testing.T, p *probe) {
		p.send(C, 1, 0, syn)
		p.put(p.acking(S, 1, synack, 1))
		p.put(p.acking(C, 1, ack, 1))
		p.sent = [2]int64{1, 1}
		p.talk()
	}},
	{name: "a SYN that takes no number, no ACK behind it", play: func(t *testing.T, p *probe) {
		p.send(C, 1, 0, syn)
		p.put(p.acking(S, 1, synack, 1))
		p.sent = [2]int64{1, 1}
		p.talk()
	}},
	{name: "an answer to a SYN's own number, and one to the SYN", play: func(t *testing.T, p *probe) {
		p.send(C, 0, 0, syn)
		p.put(p.acking(S, 7, synack, 0))
		p.send(S, 0, 0, synack)
		p.bare(C)
		p.put(p.segment(C, 0, ack, []byte{0})) // a keep-alive probe
		p.talk()
	}},
	{name: "an answer to a SYN's own number, data behind it", play: func(t *testing.T, p *probe) {
		p.send(C, 0, 0, syn)
		p.put(p.acking(S, 0, synack, 0))
		p.sent = [2]int64{1, 1}
		p.talk()
	}},
	{name: "36 split handshake", play: func(t *testing.T, p *probe) {
		p.send(C, 0, 0, syn)
		p.put(p.segment(S, 7, ack, nil)) // a bare ACK with any number
		p.send(S, 0, 0, syn)
		p.put(p.segment(C, 0, synack, nil))
		p.put(p.segment(S, 1, ack, nil))
		p.talk()
	}},
	{name: "36 simultaneous open", play: func(t *testing.T, p *probe) {
		p.send(C, 0, 0, syn)
		p.send(S, 0, 0, syn)
		p.put(p.segment(S, 0, synack, nil))
		p.put(p.segment(C, 0, synack, nil))
		p.talk()
	}},
}

// acking builds a segment without data that acknowledges up to offset to.
func (p *probe) acking(x side, off int64, flags packet.Flags, to int64) *packet.Segment {
	s := p.segment(x, off, flags, nil)
	s.Ack = p.isn[1-x] + uint32(to)
	return s
}
