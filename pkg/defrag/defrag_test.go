package defrag

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"capstan/pkg/packet"
)

func content(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7) ^ byte(i>>8)
	}
	return b
}

// fragment is the bytes [from, to) of a datagram of n bytes.
func fragment(id uint32, from, to, n int) *packet.Fragment {
	f := &packet.Fragment{Offset: from, More: to < n}
	f.ID, f.Protocol, f.Payload = id, 6, content(n)[from:to]
	return f
}

func balance(t testing.TB, d *Defragmenter) {
	t.Helper()
	st := d.Stats()
	if got := st.Joined + uint64(st.Waiting) + st.DroppedFragments(); got != st.Fragments {
		t.Fatalf("%d fragments came in, %d are accounted for: %+v", st.Fragments, got, st)
	}
	charge, waiting, n := 0, 0, 0
	for g := d.first; g != nil; g = g.next {
		length := 0
		for i := range g.pieces {
			if i > 0 && g.pieces[i].off < g.pieces[i-1].end() {
				t.Fatalf("pieces overlap at %d", i)
			}
			length += len(g.pieces[i].data)
		}
		if !g.over && length != g.length || len(g.pieces) > maxPieces {
			t.Fatalf("%d bytes in %d pieces, counted %d", length, len(g.pieces), g.length)
		}
		charge += datagramCharge + length + len(g.pieces)*pieceCharge
		waiting += g.fragments
		n++
	}
	if charge != d.charge || charge > d.cfg.MaxBytes || waiting != st.Waiting || n != len(d.datagrams) {
		t.Fatalf("charge %d of %d, waiting %d of %d, %d datagrams of %d", charge, d.charge, waiting, st.Waiting, n, len(d.datagrams))
	}
}

// Case 44 of the catalogue: the pieces of a TCP segment, tiny, overlapping, out
// of order.
func TestCase44Fragments(t *testing.T) {
	const n = 100
	type step struct {
		from, to int
		flip     bool // other content
	}
	for _, c := range []struct {
		name  string
		ipv6  bool
		steps []step
		done  bool // the last step completes it
		drop  [NumDropReasons]uint64
		stats Stats
	}{
		{name: "in order", steps: []step{{0, 48, false}, {48, 100, false}}, done: true},
		{name: "reversed and tiny", steps: []step{{96, 100, false}, {88, 96, false}, {48, 88, false}, {8, 48, false}, {0, 8, false}}, done: true},
		{name: "repeated", steps: []step{{0, 48, false}, {0, 48, false}, {48, 100, false}}, done: true, drop: [NumDropReasons]uint64{DropRepeated: 1}},
		{name: "IPv6 repeated", ipv6: true, steps: []step{{0, 48, false}, {0, 48, false}, {48, 100, false}}, done: true, drop: [NumDropReasons]uint64{DropRepeated: 1}},
		{name: "overlap of the same bytes", steps: []step{{0, 48, false}, {40, 100, false}}, done: true, stats: Stats{Overlaps: 1}},
		{name: "other bytes instead", steps: []step{{0, 48, false}, {0, 48, true}, {48, 100, false}}, done: true,
			drop: [NumDropReasons]uint64{DropRepeated: 1}, stats: Stats{Overlaps: 1, Conflicts: 1}},
		{name: "IPv6 overlap", ipv6: true, steps: []step{{0, 48, false}, {40, 100, false}, {48, 100, false}},
			drop: [NumDropReasons]uint64{DropOverlap: 2, DropRepeated: 1}},
		{name: "beyond the end", steps: []step{{48, 100, false}, {96, 104, false}}, drop: [NumDropReasons]uint64{DropMalformed: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := New(Config{})
			var got *packet.Datagram
			for i, s := range c.steps {
				f := fragment(7, s.from, min(s.to, n), n)
				if s.to > n {
					f.Payload, f.More = content(s.to)[s.from:], true
				}
				f.IPv6 = c.ipv6
				if s.flip {
					for i := range f.Payload {
						f.Payload[i] ^= 0xff
					}
				}
				if got != nil {
					t.Fatalf("complete before step %d", i)
				}
				got = d.Fragment(f, int64(i))
				balance(t, d)
			}
			if c.done != (got != nil) {
				t.Fatalf("complete: %v, want %v", got != nil, c.done)
			}
			if c.done && (!bytes.Equal(got.Payload, content(n)) || got.Protocol != 6 || got.ID != 7) {
				t.Errorf("put together %d bytes wrongly", len(got.Payload))
			}
			st := d.Stats()
			if st.Dropped != c.drop || st.Overlaps != c.stats.Overlaps || st.Conflicts != c.stats.Conflicts {
				t.Errorf("counted %+v", st)
			}
			d.Flush()
			balance(t, d)
			if d.charge != 0 || len(d.datagrams) != 0 || d.first != nil || d.last != nil {
				t.Errorf("left after the end: %d bytes, %d datagrams", d.charge, len(d.datagrams))
			}
		})
	}
}

func TestFirstBytesStay(t *testing.T) {
	d := New(Config{})
	d.Fragment(fragment(1, 0, 48, 100), 0)
	d.Fragment(fragment(1, 56, 100, 100), 0)
	f := fragment(1, 40, 72, 100)
	for i := range f.Payload {
		f.Payload[i] ^= 0xff
	}
	g := d.Fragment(f, 0)
	want := content(100)
	for i := 48; i < 56; i++ {
		want[i] ^= 0xff
	}
	if g == nil || !bytes.Equal(g.Payload, want) {
		t.Errorf("put together %v", g)
	}
}

func TestWhatIsNoFragment(t *testing.T) {
	d := New(Config{})
	odd := fragment(1, 0, 44, 100)
	late := &packet.Fragment{Offset: 65528, Datagram: packet.Datagram{Payload: make([]byte, 8)}}
	empty := &packet.Fragment{Offset: 8}
	cut := fragment(1, 0, 48, 100)
	cut.Missing = 8
	for _, f := range []*packet.Fragment{odd, late, empty, cut} {
		if d.Fragment(f, 0) != nil {
			t.Errorf("%+v completes something", f)
		}
	}
	if st := d.Stats(); st.Dropped[DropMalformed] != 3 || st.Dropped[DropTruncated] != 1 || len(d.datagrams) != 0 {
		t.Errorf("counted %+v", st)
	}
}

func TestLimits(t *testing.T) {
	d := New(Config{MaxBytes: 4*(datagramCharge+pieceCharge+48) + 100, Timeout: time.Second})
	for i := range 10 {
		d.Fragment(fragment(uint32(i), 0, 48, 100), int64(i))
		balance(t, d)
	}
	if st := d.Stats(); st.Waiting != 4 || st.Dropped[DropLimit] != 6 {
		t.Errorf("by number: %+v", st)
	}
	for i := range 10 {
		d.Fragment(fragment(uint32(20+i%2), 8*(1+i/2)*6, 8*(1+i/2)*6+48, 1000), 20)
		balance(t, d)
	}
	if st := d.Stats(); st.Dropped[DropLimit] <= 6 {
		t.Errorf("by bytes: %+v", st)
	}
	d.Advance(int64(time.Second) + 21)
	balance(t, d)
	if st := d.Stats(); st.Waiting != 0 || st.Dropped[DropTimeout] == 0 {
		t.Errorf("by time: %+v", st)
	}
	tiny := New(Config{})
	for i := range maxPieces + 1 {
		tiny.Fragment(fragment(1, 16*i, 16*i+8, 60_000), 0)
		balance(t, tiny)
	}
	if st := tiny.Stats(); st.Dropped[DropLimit] != maxPieces+1 || tiny.charge != datagramCharge {
		t.Errorf("by pieces: %+v", st)
	}
	whole := New(Config{MaxBytes: 10 * datagramCharge})
	for i := range 100 { // datagrams that are complete are remembered for a while
		whole.Fragment(fragment(uint32(i), 0, 48, 48), 0)
		balance(t, whole)
	}
	if st := whole.Stats(); st.Joined != 100 || len(whole.datagrams) != 10 {
		t.Errorf("%d of 100 datagrams are remembered: %+v", len(whole.datagrams), st)
	}
}

// TestShed: the older half of the datagrams goes each time, counted by fragments, and the
// others are put together yet.
func TestShed(t *testing.T) {
	d := New(Config{})
	for i := range 9 {
		d.Fragment(fragment(uint32(i), 0, 48, 100), int64(i))
		d.Fragment(fragment(uint32(i), 56, 80, 100), int64(i))
	}
	if st := d.Stats(); st.Charge != 9*(datagramCharge+2*pieceCharge+72) {
		t.Errorf("%d bytes are told to be held", st.Charge)
	}
	for _, want := range []struct{ dropped, waiting int }{{10, 8}, {14, 4}} {
		d.Shed()
		balance(t, d)
		if st := d.Stats(); st.Dropped[DropShed] != uint64(want.dropped) || st.Waiting != want.waiting {
			t.Errorf("counted %+v, want %+v", st, want)
		}
	}
	d.Fragment(fragment(8, 48, 56, 100), 10)
	if d.Fragment(fragment(8, 80, 100, 100), 10) == nil {
		t.Error("the youngest is gone")
	}
	for range 3 {
		d.Shed()
		balance(t, d)
	}
	if d.Stats().Charge != 0 || d.first != nil || d.last != nil {
		t.Errorf("%d bytes are left", d.charge)
	}
	if d.Fragment(fragment(1, 0, 48, 48), 11) == nil {
		t.Error("nothing is put together any more")
	}
}

// An identification that comes again after a while is another datagram; at once
// it is the same one, seen at a second interface.
func TestIdentificationComesAgain(t *testing.T) {
	d := New(Config{})
	send := func(now int64) (done int) {
		for _, f := range []*packet.Fragment{fragment(1, 0, 48, 100), fragment(1, 48, 100, 100)} {
			if d.Fragment(f, now) != nil {
				done++
			}
			balance(t, d)
		}
		return done
	}
	if send(0) != 1 || send(1000) != 0 || send(linger+1001) != 1 {
		t.Errorf("counted %+v", d.Stats())
	}
	other := fragment(1, 0, 48, 100)
	other.Scope = 5
	if d.Fragment(other, linger+1002); d.Stats().Waiting != 1 {
		t.Error("networks are not told apart")
	}
}

// random plays fragments of one datagram drawn from b and holds what comes out
// against a byte map of what went in first.
func random(t testing.TB, b []byte, ipv6 bool) (complete bool) {
	roll := func(n int) int {
		if len(b) < 2 {
			b = nil
			return 0
		}
		v := (int(b[0])<<8 | int(b[1])) % n
		b = b[2:]
		return v
	}
	d := New(Config{})
	n := 1 + roll(400)
	want, known := make([]byte, n), make([]bool, n)
	refused := false
	for i := 0; len(b) > 0 && !complete; i++ {
		from := roll(n/8+1) * 8
		to := min(n, from+8*(1+roll(8)))
		if from >= to {
			continue
		}
		f := fragment(3, from, to, n)
		f.IPv6 = ipv6
		if roll(8) == 7 {
			f.Payload[0] ^= 0x55
		}
		overlap, differs := 0, false
		for j, v := range f.Payload {
			if known[from+j] {
				overlap++
				differs = differs || want[from+j] != v
			}
		}
		refused = refused || ipv6 && overlap > 0 && (overlap < len(f.Payload) || differs)
		for j, v := range f.Payload {
			if !refused && !known[from+j] {
				want[from+j], known[from+j] = v, true
			}
		}
		whole := true
		for _, k := range known {
			whole = whole && k
		}
		g := d.Fragment(f, int64(i))
		balance(t, d)
		if (g != nil) != (whole && !refused) {
			t.Fatalf("complete: %v, want %v", g != nil, whole && !refused)
		}
		if g != nil && !bytes.Equal(g.Payload, want) {
			t.Fatalf("put together wrongly")
		}
		complete = g != nil
	}
	d.Flush()
	balance(t, d)
	return complete
}

func TestRandomFragmentsAgainstByteMap(t *testing.T) {
	complete := 0
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 3))
		b := make([]byte, 800)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		if random(t, b, seed%4 == 3) {
			complete++
		}
	}
	if complete < 500 {
		t.Errorf("only %d datagrams were completed", complete)
	}
}

func FuzzFragments(f *testing.F) {
	f.Add(content(300), false)
	f.Add(content(300), true)
	f.Fuzz(func(t *testing.T, b []byte, ipv6 bool) { random(t, b[:min(len(b), 4000)], ipv6) })
}
