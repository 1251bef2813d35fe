package reassembly

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"capstan/pkg/flow"
)

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
	{name: "12 lost, and sent again late", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.s(1, 1000)
		p.lost(S, 1001, 1000, 0)
		p.s(2001, 1000)
		p.acks[C] = 1001
		p.bare(C)
		p.wait(59 * time.Second)
		p.want(0, S, "[0,1000)")
		p.s(1001, 1000)
		p.want(0, S, "[0,3000)")
		p.wantBytes(0, S, 1)
		if st := p.a.Stats(); st.Gaps != 0 || st.QueuedBytes != 0 {
			t.Errorf("counted %+v", st)
		}
	}},
	{name: "12 lost in two places, and sent again late", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.s(1, 100)
		p.s(201, 100)
		p.s(401, 100)
		p.acks[C] = 101
		p.bare(C)
		p.wait(2 * time.Second)
		p.s(101, 100)
		p.wait(2 * time.Second)
		p.want(0, S, "[0,300)")
		p.s(301, 100)
		p.want(0, S, "[0,500)")
		// The next hole has nothing to do with these.
		p.s(601, 100)
		p.wait(time.Second)
		p.want(0, S, "[0,500) gap100 [600,700)")
	}},
	{name: "12 lost before a FIN, and sent again late", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 200)
		p.lost(S, 1, 500, 0)
		p.send(S, 501, 0, finack)
		p.acks[C] = 1
		p.bare(C)
		p.wait(8 * time.Second)
		p.want(0, S, "")
		p.s(1, 300)
		p.acks[C] = 301
		p.bare(C)
		p.want(0, S, "[0,300)")
		p.s(301, 200)
		p.want(0, S, "[0,500) END")
	}},
	{name: "12 lost, and not sent again", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.s(1, 100)
		p.s(201, 100)
		p.acks[C] = 101
		p.bare(C)
		p.wait(time.Minute - 2*time.Millisecond)
		p.want(0, S, "[0,100)")
		p.wait(2 * time.Millisecond)
		p.want(0, S, "[0,100) gap100 [200,300)")
	}},
	{name: "11 lost for the capture, although an ACK was on its way", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.s(1, 100)
		p.s(201, 100)
		p.acks[C] = 101
		p.bare(C)
		p.wait(2 * time.Second)
		p.acks[C] = 301
		p.bare(C)
		p.want(0, S, "[0,100)")
		p.wait(5 * time.Millisecond)
		p.want(0, S, "[0,100) gap100 [200,300)")
	}},
	{name: "11 lost in several places, acknowledged at once", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.lost(S, 1, 100, 0)
		p.s(101, 100)
		p.lost(S, 201, 100, 0)
		p.s(301, 100)
		p.lost(S, 401, 100, 0)
		p.s(501, 100)
		p.bare(C)
		p.wait(4 * time.Millisecond)
		p.s(601, 100)
		p.want(0, S, "gap100 [100,200) gap100 [300,400) gap100 [500,700)")
		// The next one has a tolerance of its own.
		p.lost(S, 701, 100, 0)
		p.bare(C)
		p.wait(9 * time.Millisecond)
		p.s(801, 100)
		p.wait(3 * time.Millisecond)
		p.s(701, 100)
		p.want(0, S, "gap100 [100,200) gap100 [300,400) gap100 [500,900)")
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
		p.closeAll(CloseEndOfCapture)
		p.want(0, S, "gap500")
		p.want(0, C, "[0,200) END")
		p.wantEndUnseen(false) // the sender does not say that it stands there
	}},
	{name: "14 gap at the end, FIN lost too, the sender stands behind it", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 200)
		p.lost(S, 1, 500, finack)
		p.send(C, 201, 0, finack)
		p.bare(S)
		p.closeAll(CloseEndOfCapture)
		p.want(0, S, "gap500")
		p.wantEndUnseen(true)
	}},
	{name: "14 FIN lost, the other end closes, too", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 200)
		p.s(1, 500)
		p.lost(S, 501, 0, finack)
		p.send(C, 201, 0, finack)
		p.bare(S)
		p.wait(10 * time.Minute)
		p.wantClosed(0, CloseTimeout)
		p.want(0, S, "[0,500)")
		p.wantEndUnseen(true)
	}},
	{name: "14 a byte lost, then the FIN seen", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 200)
		p.s(1, 500)
		p.lost(S, 501, 1, 0)
		p.send(C, 201, 0, finack)
		p.bare(S)
		p.send(S, 502, 0, finack)
		p.wait(5 * time.Millisecond)
		p.want(0, S, "[0,500) gap1 END")
		p.wantClosed(0, CloseFIN)
		p.wantEndUnseen(false)
	}},
	{name: "14 a byte and the FIN lost", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 200)
		p.s(1, 500)
		p.lost(S, 501, 1, finack)
		p.send(C, 201, 0, finack)
		p.bare(S)
		p.closeAll(CloseEndOfCapture)
		p.want(0, S, "[0,500)")
		p.wantEndUnseen(false)
	}},
	{name: "14 a byte lost, and the other end goes on", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 200)
		p.s(1, 500)
		p.lost(S, 501, 1, 0)
		p.bare(C)
		p.bare(S)
		p.closeAll(CloseEndOfCapture)
		p.want(0, S, "[0,500)")
		p.wantEndUnseen(false)
	}},
	{name: "14 FIN lost, no data lost", play: func(t *testing.T, p *probe) {
		p.handshake()
		p.c(1, 200)
		p.s(1, 500)
		p.lost(S, 501, 0, finack)
		p.bare(C)
		p.bare(S)
		p.wait(2 * time.Second)
		p.closeAll(CloseEndOfCapture)
		p.want(0, S, "[0,500)")
		p.wantEndUnseen(false) // the other end may have more to ask
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
	{name: "48 the oldest hole goes, although the peer asks for what is in it", cfg: Config{MaxQueuedTotal: 4 << 10}, play: func(t *testing.T, p *probe) {
		open := func(port uint16) {
			p.ends[C] = flow.EndpointFrom(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, 0, 1}), port))
			p.sent, p.acks = [2]int64{}, [2]int64{-1, -1}
			p.handshake()
		}
		asked := func(port uint16, n int) {
			open(port)
			p.c(101, n)
			p.acks[S] = 1
			p.bare(S)
		}
		asked(4000, 1500)
		asked(4001, 1500)
		p.wait(500 * time.Millisecond)
		open(4002)
		p.c(201, 1000)
		structure(t, p.a)
		p.want(0, C, "gap100 [100,1600)")
		p.wait(600 * time.Millisecond)
		asked(4003, 1000)
		p.wait(500 * time.Millisecond)
		p.want(1, C, "gap200 [200,1200)") // its time was over
		if st := p.a.Stats(); st.Shed != 1 || st.Gaps != 2 {
			t.Errorf("%d holes shed, %d gaps", st.Shed, st.Gaps)
		}
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
