package reassembly

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"capstan/pkg/packet"
)

// dice makes choices from bytes, so that a fuzzer can steer them.
type dice struct{ b []byte }

// roll returns a number below n; 0 once the bytes are used up.
func (d *dice) roll(n int) int {
	v := 0
	for m := n - 1; m > 0 && len(d.b) > 0; m >>= 8 {
		v = v<<8 | int(d.b[0])
		d.b = d.b[1:]
	}
	return v % n
}

func (d *dice) chance(percent int) bool { return d.roll(100) >= 100-percent }

// fate is what became of a byte in the capture.
type fate byte

const (
	never    fate = iota // not captured: must be in a gap, or behind the end
	captured             // must be delivered
	either               // captured once, cut off by a snap length another time
)

// event is a captured segment of the plan.
type event struct {
	seg  *packet.Segment
	slot int // order of capture
}

// plan is a connection of two random streams, cut into segments, with what the
// capture did to them, and the naive account of it: one fate per byte.
type plan struct {
	p         *probe
	d         *dice
	fates     [2][]fate
	finLost   [2]bool
	base      [2]int64 // TCP offset of stream offset 0
	events    []event
	window    int // of reordering, in segments
	loss      int // percent
	overlaps  int
	truncates int
	pause     int
}

// newPlan draws a connection. Its handshake is captured in order, since the
// bytes before the first known one would be another matter.
func newPlan(t testing.TB, cfg Config, d *dice) *plan {
	p := newProbe(t, cfg)
	pl := &plan{p: p, d: d}
	for x := range p.isn {
		p.isn[x] = uint32(d.roll(1<<16)) << 16
		if d.chance(50) {
			p.isn[x] = -uint32(d.roll(30_000)) // wraps inside the stream
		}
		pl.base[x] = 1
	}
	switch d.roll(3) {
	case 0:
		p.handshake()
	case 1: // SYN-ACK only
		p.lost(C, 0, 0, syn)
		p.send(S, 0, 0, synack)
	case 2: // joined midstream
		pl.base = [2]int64{1 + int64(d.roll(1000)), 1 + int64(d.roll(1000))}
		p.sent = pl.base
		p.bare(C)
		p.bare(S)
	}
	pl.pause = d.roll(3)
	pl.window, pl.loss = d.roll(16), d.roll(30)
	pl.overlaps, pl.truncates = d.roll(30), d.roll(2)*d.roll(20)
	for range 4 + d.roll(60) {
		pl.segment(side(d.roll(2)))
	}
	for x := range p.isn {
		if d.chance(80) {
			pl.fin(side(x))
		}
	}
	slices.SortStableFunc(pl.events, func(a, b event) int { return a.slot - b.slot })
	return pl
}

// capture puts a segment into the capture, near its place.
func (pl *plan) capture(s *packet.Segment) {
	pl.events = append(pl.events, event{s, len(pl.events) + pl.d.roll(pl.window+1)})
	if pl.d.chance(10) {
		c := *s
		c.Vantage = uint32(pl.d.roll(2)) // at another interface, or sent again
		pl.events = append(pl.events, event{&c, len(pl.events) + pl.d.roll(pl.window+1)})
	}
}

// segment sends new bytes, now and then with some that were sent before.
func (pl *plan) segment(x side) {
	p, d := pl.p, pl.d
	start := p.sent[x]
	n := d.roll(8)
	if n > 0 {
		n = 1 + d.roll(1500)
	}
	if n == 1 && start == pl.base[x] {
		n = 2 // joined midstream, one lost byte looks like a keep-alive probe
	}
	if d.chance(pl.overlaps) {
		back := min(int64(d.roll(2000)), start-pl.base[x])
		// What is sent again was captured the first time or is near enough;
		// else the gap may have been declared, and rightly.
		for back > 0 && pl.fates[x][start-back-pl.base[x]] != captured {
			back--
		}
		for i := start - back; i < start; i++ {
			if pl.fates[x][i-pl.base[x]] != captured {
				back = 0
			}
		}
		if start-back == pl.base[x]+1 {
			back = 0 // what it may overtake would look like a keep-alive probe, too
		}
		start -= back
		n += int(back)
	}
	s := p.segment(x, start, ack, octets(x, start, n))
	for int64(len(pl.fates[x])) < start+int64(n)-pl.base[x] {
		pl.fates[x] = append(pl.fates[x], never)
	}
	p.lost(x, start, n, 0)
	if d.chance(pl.loss) {
		return
	}
	if n > 0 && d.chance(pl.truncates) {
		s.Missing = d.roll(n + 1)
		s.Payload = s.Payload[:n-s.Missing]
	}
	for i := range n {
		f := &pl.fates[x][start-pl.base[x]+int64(i)]
		switch {
		case i < len(s.Payload) && *f == never:
			*f = captured
		case i >= len(s.Payload) && *f == captured:
			*f = either
		}
	}
	// A byte that one segment lacks and another has is either: the cut copy
	// may come first.
	pl.capture(s)
}

func (pl *plan) fin(x side) {
	s := pl.p.segment(x, pl.p.sent[x], finack, nil)
	pl.p.lost(x, pl.p.sent[x], 0, finack)
	if pl.finLost[x] = pl.d.chance(10); !pl.finLost[x] {
		pl.capture(s)
	}
}

// run plays the capture and holds what the handler was told against the fates.
// With strict, every captured byte has to be delivered; limits that force holes
// shut do not allow that.
func (pl *plan) run(t testing.TB, strict bool) {
	p := pl.p
	for _, e := range pl.events {
		p.now += 10_000
		p.segmentAt(e.seg, p.now)
		balance(t, p.a)
		structure(t, p.a)
	}
	// Time enough for the holes that the peer's ACK has passed, or for all.
	p.wait([...]time.Duration{0, 10 * time.Millisecond, 2 * time.Second}[pl.pause])
	structure(t, p.a)
	p.closeAll(CloseEndOfCapture)
	empty(t, p.a)
	if st := p.a.Stats(); st.Opened != 1 {
		t.Errorf("%d connections", st.Opened)
	}
	if len(p.streams) > 1 {
		t.Fatalf("%d handlers", len(p.streams))
	}
	for x := range pl.fates {
		var r *stream
		if len(p.streams) == 1 {
			r = p.streams[0]
		} else {
			r = &stream{}
		}
		pl.verify(t, side(x), r, strict)
	}
}

func (pl *plan) verify(t testing.TB, x side, r *stream, strict bool) {
	d := pl.p.dir(x)
	off, at := int64(0), 0
	fates := pl.fates[x]
	for _, l := range r.log[d] {
		var from, to, n int64
		if k, _ := fmt.Sscanf(l, "[%d,%d)", &from, &to); k == 2 {
			if from != off {
				t.Fatalf("side %d: data at %d, was at %d", x, from, off)
			}
			for ; off < to; off, at = off+1, at+1 {
				if off >= int64(len(fates)) || fates[off] == never {
					t.Fatalf("side %d: byte %d was delivered, but not captured", x, off)
				}
				if r.data[d][at] != octet(x, pl.base[x]+off) {
					t.Fatalf("side %d: byte %d is wrong", x, off)
				}
			}
		} else if k, _ := fmt.Sscanf(l, "gap%d", &n); k == 1 {
			for end := off + n; off < end; off++ {
				if off >= int64(len(fates)) {
					if !pl.finLost[x] || off > int64(len(fates)) {
						t.Fatalf("side %d: gap to %d of %d bytes", x, end, len(fates))
					}
				} else if strict && fates[off] == captured {
					t.Fatalf("side %d: byte %d was captured, but is in a gap of %d", x, off, n)
				}
			}
		}
	}
	for i := off; i < int64(len(fates)); i++ {
		if fates[i] != never {
			t.Fatalf("side %d: byte %d was captured, but the stream ends at %d", x, i, off)
		}
	}
}

func TestRandomStreamsAgainstByteMap(t *testing.T) {
	rounds := 1000
	if testing.Short() {
		rounds = 300
	}
	var sum Stats
	for seed := range uint64(rounds) {
		r := rand.New(rand.NewPCG(seed, 7))
		b := make([]byte, 2000)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		pl := newPlan(t, Config{}, &dice{b})
		pl.run(t, true)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
		st := pl.p.a.Stats()
		sum.OutOfOrder += st.OutOfOrder
		sum.Gaps += st.Gaps
		sum.Duplicates += st.Duplicates
		sum.DeliveredBytes += st.DeliveredBytes
		sum.GapBytes += st.GapBytes
		sum.Conflicts += st.Conflicts
		sum.Copies += st.Copies
		sum.Closed[CloseFIN] += st.Closed[CloseFIN]
	}
	// The plans have to reach what they are meant to test.
	if n := uint64(rounds); sum.OutOfOrder < n || sum.Gaps < n || sum.Duplicates < n || sum.Copies < n/2 || sum.Closed[CloseFIN] < n/4 || sum.Conflicts != 0 {
		t.Errorf("in %d rounds: %+v", rounds, sum)
	}
}

func FuzzAssembler(f *testing.F) {
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 9))
		b := make([]byte, 400)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		f.Add(b, false)
		f.Add(b, true)
	}
	f.Fuzz(func(t *testing.T, b []byte, tight bool) {
		cfg := Config{}
		if tight {
			cfg = Config{MaxHoleBytes: 3000, MaxQueuedTotal: 4000, AckTolerance: -1, HoleTimeout: 100 * time.Microsecond}
		}
		newPlan(t, cfg, &dice{b}).run(t, !tight)
	})
}

// FuzzHostile feeds segments that make no sense. What must hold is that calls
// to handlers keep their promises, that all bytes are accounted for, that the
// limits hold and that nothing is left in the end.
func FuzzHostile(f *testing.F) {
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 11))
		b := make([]byte, 800)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) { playHostile(t, &dice{b}) })
}

func TestHostileSegments(t *testing.T) {
	for seed := range uint64(250) {
		r := rand.New(rand.NewPCG(seed, 13))
		b := make([]byte, 3000)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		playHostile(t, &dice{b})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func playHostile(t testing.TB, d *dice) {
	p := newProbe(t, Config{MaxHoleBytes: 2000, MaxQueuedTotal: 5000, MaxConnections: 4, UrgentOutOfBand: d.roll(2) == 1, History: 1 << d.roll(9)})
	seqs := []uint32{0, 1, 2, 100, 101, 1000, 1<<30 + 1, 1 << 31, 1<<31 + 101, 0xffffffff}
	for len(d.b) > 0 {
		x := side(d.roll(2))
		p.ends[C].Port = uint16(40000 + d.roll(6))
		s := p.segment(x, 0, 0, octets(x, 0, d.roll(3)*d.roll(120)))
		s.Flags = [...]packet.Flags{ack, ack, ack, ack, syn, synack, finack, rst, rstack, 0, 0xff, syn | packet.FlagFIN}[d.roll(12)]
		s.Seq = p.isn[x] + seqs[d.roll(len(seqs))] + uint32(d.roll(200))
		s.Ack = p.isn[1-x] + seqs[d.roll(len(seqs))] + uint32(d.roll(200))
		s.Urgent, s.Vantage, s.ID, s.TSVal = uint16(d.roll(300)), uint32(d.roll(3)), uint16(d.roll(3)), uint32(d.roll(2))
		if d.roll(8) == 7 {
			s.Flags |= packet.FlagURG
		}
		s.Missing = d.roll(4) / 3 * d.roll(500)
		if d.roll(64) == 63 {
			s.Missing = 1<<31 - 1
		}
		p.now += [...]int64{0, 1000, -1000, ms, 100 * ms, int64(time.Minute), -int64(time.Hour), 1 << 62}[d.roll(8)]
		p.segmentAt(s, p.now)
		if d.roll(16) == 15 {
			p.advance()
		}
		balance(t, p.a)
		structure(t, p.a)
		if p.a.conns.count() > 4 {
			t.Errorf("%d connections", p.a.conns.count())
		}
	}
	p.closeAll(CloseSourceLost)
	empty(t, p.a)
	for i, r := range p.streams {
		if len(r.closed) != 1 {
			t.Errorf("connection %d was closed %d times", i, len(r.closed))
		}
	}
}
