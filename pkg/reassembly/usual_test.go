package reassembly

import (
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"capstan/pkg/flow"
	"capstan/pkg/packet"
)

// careful is an assembler that takes every segment for irregular. Each scenario
// of the tests is played to one, too.
type careful struct {
	a       *Assembler
	streams []*stream
}

func newCareful(t testing.TB, cfg Config) *careful {
	k := &careful{}
	k.a = newRecorded(t, cfg, &k.streams)
	return k
}

// segment does what Assembler.Segment does.
func (k *careful) segment(s *packet.Segment, time int64) {
	at := k.a.clock.Tick(time)
	if at.Due {
		k.a.AdvanceTo(at)
	}
	k.a.enter(s, at)
	c, closed := k.a.conns.find(&s.Key)
	if closed == 0 || !k.a.late(closed, s, time) {
		k.a.irregular(c, s, time)
	}
}

// TestShortConnections plays connections of a few segments each, all on one
// tuple, of which now and then one is another than it should be.
func TestShortConnections(t *testing.T) {
	var sum Stats
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 17))
		p := newProbe(t, Config{MaxConnections: 2})
		for range 8 {
			p.short(r)
		}
		p.closeAll(CloseEndOfCapture)
		empty(t, p.a)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
		st := p.a.Stats()
		sum.Closed[CloseFIN] += st.Closed[CloseFIN]
		sum.Gaps += st.Gaps
		sum.Copies += st.Copies
	}
	if sum.Closed[CloseFIN] < 800 || sum.Gaps < 100 || sum.Copies < 100 {
		t.Errorf("%+v", sum)
	}
}

// short plays a connection of one exchange, with what r puts wrong.
func (p *probe) short(r *rand.Rand) {
	p.sent = [2]int64{}
	for x := range p.isn {
		p.isn[x] += uint32(r.IntN(3)) << r.IntN(32)
	}
	dataAndFIN := r.IntN(2) * r.IntN(300)
	for _, s := range []struct {
		x     side
		flags packet.Flags
		n     int
	}{
		{C, syn, 0}, {S, synack, 0}, {C, ack, 0}, {C, ack | packet.FlagPSH, 90}, {S, ack, 400},
		{S, finack, dataAndFIN}, {C, finack, 0}, {S, ack, 0},
	} {
		p.disturbed(r, s.x, s.flags, s.n)
	}
}

// disturbed sends what follows of side x, or nearly that.
func (p *probe) disturbed(r *rand.Rand, x side, flags packet.Flags, n int) {
	off := p.sent[x]
	p.lost(x, off, n, flags)
	s := p.segment(x, off, flags, octets(x, off, n))
	s.ID = uint16(r.IntN(2))
	switch r.IntN(40) {
	case 0:
		return // not captured
	case 1:
		s.Seq += uint32(r.IntN(5)) - 2
	case 2:
		s.Ack += uint32(r.IntN(5)) - 2
	case 3:
		s.Flags ^= 1 << r.IntN(6)
		s.Urgent = uint16(r.IntN(3))
	case 4:
		s.Missing = r.IntN(3)
	case 5:
		p.now += int64(time.Minute) << r.IntN(4)
	case 6:
		p.put(s) // and once more
	case 7:
		p.lost(x, p.sent[x], 10, 0)
	case 8:
		p.put(p.segment(1-x, int64(r.IntN(3)), [...]packet.Flags{syn, synack, finack, rst, ack}[r.IntN(5)], nil))
	}
	p.put(s)
}

// compareCounts holds that p's assembler has counted what k's has.
func (k *careful) compareCounts(p *probe) {
	p.t.Helper()
	if got, want := p.a.Stats(), k.a.Stats(); got != want {
		p.t.Fatalf("counted %+v, want %+v", got, want)
	}
}

// compare holds that p's assembler knows what k's does of the connection of that
// key.
func (k *careful) compare(p *probe, key *flow.Key) {
	p.t.Helper()
	got, gotTuple := p.a.conns.find(key)
	want, wantTuple := k.a.conns.find(key)
	if (got == nil) != (want == nil) || (gotTuple == 0) != (wantTuple == 0) {
		p.t.Fatalf("connection is %+v, want %+v; tuple %d, want %d", got, want, gotTuple, wantTuple)
	}
	if got, want := remains(p.a, gotTuple), remains(k.a, wantTuple); got != want {
		p.t.Fatalf("tuple is %+v, want %+v", got, want)
	}
	if got == nil {
		return
	}
	if got, want := known(got), known(want); got != want {
		p.t.Fatalf("connection is %+v, want %+v", got, want)
	}
	for d := range got.half {
		if got, want := waits(&got.half[d]), waits(&want.half[d]); !reflect.DeepEqual(got, want) {
			p.t.Fatalf("direction %d waits for %+v, want %+v", d, got, want)
		}
	}
}

// remains returns the tuple of that number.
func remains(a *Assembler, i uint32) tuple {
	if i == 0 {
		return tuple{}
	}
	return *a.conns.tuples.at(i)
}

// known returns c without what may differ: places in memory.
func known(c *connection) connection {
	x := *c
	x.Handler, x.prev, x.next = nil, nil, nil
	x.half[0].pending, x.half[1].pending = nil, nil
	return x
}

// waits returns what h waits for, without what may differ: places in memory, and
// what was acknowledged or sent no further than the offset reached.
func waits(h *half) *pending {
	if h.pending == nil {
		return nil
	}
	x := *h.pending
	x.conn = nil
	if x.ackOff <= h.offset {
		x.ackOff, x.roseAt = 0, 0
	}
	if x.sentOff <= h.offset {
		x.sentOff = 0
	}
	x.pieces = append([]piece(nil), x.pieces...)
	return &x
}

// compareStreams holds that the handlers of p and k were told the same.
func (k *careful) compareStreams(p *probe) {
	p.t.Helper()
	if len(p.streams) != len(k.streams) {
		p.t.Fatalf("%d handlers, want %d", len(p.streams), len(k.streams))
	}
	for i, got := range p.streams {
		want := *k.streams[i]
		want.conn = got.conn
		if !reflect.DeepEqual(*got, want) {
			p.t.Fatalf("handler %d was told %+v, want %+v", i, *got, want)
		}
	}
}
