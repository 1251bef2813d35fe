package reassembly

import (
	"testing"
	"time"

	"capstan/pkg/flow"
	"capstan/pkg/packet"
)

// A tuple lingers for its time from the close on, longer if segments come again, and
// no longer for a bare ACK.
func TestTupleLingers(t *testing.T) {
	const linger = 10 * time.Second
	p := newProbe(t, Config{Linger: linger})
	lingers := func(want int) {
		t.Helper()
		p.wait(0)
		if st := p.a.Stats(); st.Lingering != want || st.Active != 0 {
			t.Errorf("%d linger, want %d; %d are active", st.Lingering, want, st.Active)
		}
	}
	p.handshake()
	p.fins()
	p.wait(linger - time.Second)
	p.bare(S)
	lingers(1)
	p.wait(2 * time.Second)
	lingers(0)

	p = newProbe(t, Config{Linger: linger})
	p.handshake()
	p.fins()
	p.wait(linger / 2)
	p.send(S, p.sent[S]-1, 0, finack)
	p.wait(linger - time.Second)
	lingers(1)
	p.send(S, p.sent[S]-1, 0, finack) // it is known in full, and no new connection
	if st := p.a.Stats(); st.Opened != 1 || st.LateSegments != 3 {
		t.Errorf("counted %+v", st)
	}
	for range 4 {
		p.wait(linger)
	}
	lingers(0)
}

// TestForgottenTuplesGiveWay: whoever opens one connection again and again, and resets
// it, fills no memory with what is forgotten of it, though an older tuple lingers.
func TestForgottenTuplesGiveWay(t *testing.T) {
	a := New(Config{Linger: time.Hour}, nil)
	cycle := func(client flow.Endpoint, isn uint32) {
		s := packet.Segment{Seq: isn, Flags: packet.FlagSYN}
		s.Key, s.Dir = flow.NewKey(client, serverEnd)
		a.Segment(&s, 1)
		s = packet.Segment{Ack: isn + 1, Flags: packet.FlagRST | packet.FlagACK}
		s.Key, s.Dir = flow.NewKey(serverEnd, client)
		a.Segment(&s, 1)
	}
	const old, again = 500, 20_000
	client := clientEnd
	for i := range uint16(old) {
		client.Port = 1000 + i
		cycle(client, 1)
	}
	client.Port = 10
	for i := range uint32(again) {
		cycle(client, i*100_000)
	}
	if st := a.Stats(); st.Lingering != old+1 || st.Opened != old+again {
		t.Fatalf("counted %+v", st)
	}
	if n := len(a.conns.tuples.blocks) * tupleBlock; n > 3*old+32*tupleBlock {
		t.Errorf("there is room for %d tuples, %d linger", n, old+1)
	}
	if c, i := a.conns.find(&a.conns.tuples.at(a.conns.tuples.oldest()).key); c != nil || i != a.conns.tuples.oldest() {
		t.Error("the oldest tuple can't be found")
	}
}
