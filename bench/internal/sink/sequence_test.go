//go:build linux

package sink

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"capstan/bench/internal/traffic"
	"capstan/pkg/capture"
)

// model is a Sequence that remembers everything.
type model struct {
	seen                     map[uint64]bool
	highest                  uint64
	unique, duplicates, late uint64
}

func (m *model) add(seq uint64) {
	switch {
	case m.seen[seq]:
		m.duplicates++
		return
	case len(m.seen) > 0 && seq < m.highest:
		m.late++
	}
	m.seen[seq] = true
	m.unique++
	m.highest = max(m.highest, seq)
}

func compare(t *testing.T, arrivals []uint64) {
	t.Helper()
	m := model{seen: make(map[uint64]bool)}
	var s Sequence
	for _, seq := range arrivals {
		m.add(seq)
		s.Add(seq)
	}
	if s.Unique != m.unique || s.Duplicates != m.duplicates || s.Late != m.late || s.Unclear != 0 {
		t.Errorf("%d unique, %d again, %d late, %d unclear, want %d, %d, %d, 0", s.Unique, s.Duplicates, s.Late, s.Unclear, m.unique, m.duplicates, m.late)
	}
	missing := uint64(0)
	for i, g := range s.gaps {
		if g.from >= g.to || i > 0 && g.from <= s.gaps[i-1].to || g.to > s.next {
			t.Fatalf("gaps %v below %d", s.gaps, s.next)
		}
		missing += g.to - g.from
	}
	if missing+s.Unique != s.next {
		t.Errorf("%d missing and %d unique below %d", missing, s.Unique, s.next)
	}
}

func TestSequenceAgainstModel(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var arrivals []uint64
		for seq := range uint64(300) {
			for range r.IntN(12) / 5 { // lost, once, twice
				at := max(0, len(arrivals)-r.IntN(20)*r.IntN(2))
				arrivals = slices.Insert(arrivals, at, seq)
			}
		}
		compare(t, arrivals)
	}
}

func FuzzSequence(f *testing.F) {
	f.Add([]byte{0, 1, 2, 4, 3, 3, 9, 5})
	f.Fuzz(func(t *testing.T, b []byte) {
		arrivals := make([]uint64, len(b))
		for i, x := range b {
			arrivals[i] = uint64(x)
		}
		compare(t, arrivals)
	})
}

// With more gaps than are kept, what falls into the forgotten ones is unclear
// and nothing else is.
func TestSequenceForgetsOldGaps(t *testing.T) {
	var s Sequence
	for seq := uint64(0); seq < 4*maxGaps; seq += 2 {
		s.Add(seq)
	}
	if len(s.gaps) > maxGaps || cap(s.gaps) > 2*maxGaps {
		t.Errorf("%d gaps kept in %d", len(s.gaps), cap(s.gaps))
	}
	for seq := uint64(1); seq < 4*maxGaps; seq += 2 {
		s.Add(seq)
	}
	if s.Unique+s.Unclear != 4*maxGaps || s.Unclear == 0 || s.Duplicates != 0 || s.Unique < 2*maxGaps {
		t.Errorf("%d unique, %d unclear, %d again of %d", s.Unique, s.Unclear, s.Duplicates, 4*maxGaps)
	}
}

func TestNumbers(t *testing.T) {
	for _, tc := range []struct {
		numbers []uint32
		missing uint64
	}{
		{nil, 0},
		{[]uint32{1, 2, 3}, 0},
		{[]uint32{3}, 2},
		{[]uint32{2, 1, 3}, 0},
		{[]uint32{1, 4, 2}, 1},
	} {
		var n numbers
		for _, x := range tc.numbers {
			n.add(x)
		}
		if n.missing() != tc.missing {
			t.Errorf("%v: %d missing, want %d", tc.numbers, n.missing(), tc.missing)
		}
	}
	wrap := numbers{next: 1<<32 - 2, arrived: 1<<32 - 2}
	for _, x := range []uint32{1<<32 - 1, 0, 2} { // 1 is missing
		wrap.add(x)
	}
	if wrap.missing() != 1 {
		t.Errorf("%d missing around the wrap, want 1", wrap.missing())
	}
}

func TestHistogram(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var h Histogram
	if h.Quantile(0.5) != 0 || h.Max() != 0 {
		t.Error("an empty histogram has a quantile")
	}
	var all []time.Duration
	for range 10_000 {
		d := time.Duration(r.Uint64() >> (r.IntN(50) + 12))
		all = append(all, d)
		h.Add(d)
	}
	h.Add(-5)
	all = append(all, 0)
	slices.Sort(all)
	for _, q := range []float64{0, 0.01, 0.5, 0.9, 0.99, 1} {
		rank := int(q * float64(len(all)))
		exact := all[min(max(rank-1, 0), len(all)-1)]
		next := all[min(rank, len(all)-1)]
		if got := h.Quantile(q); got < exact || float64(got) > float64(next)*(1+1.0/subBuckets)+1 {
			t.Errorf("quantile %v is %v, want from %v to %v", q, got, exact, next)
		}
	}
	if h.Count() != 10_001 || h.Max() != all[len(all)-1] {
		t.Errorf("count %d, max %v", h.Count(), h.Max())
	}
	for v := uint64(0); v < 1<<20; v = v*9/8 + 1 {
		if i := bucket(v); upper(i) < v || i > 0 && upper(i-1) >= v {
			t.Fatalf("%d is in bucket %d, which ends at %d", v, i, upper(i))
		}
	}
	if i := bucket(1<<63 - 1); i >= len(h.counts) {
		t.Errorf("the longest duration is in bucket %d of %d", i, len(h.counts))
	}
}

func TestTallyAllocatesNothing(t *testing.T) {
	g, err := traffic.New(traffic.Plan{Size: traffic.Fixed(1400)})
	if err != nil {
		t.Fatal(err)
	}
	var made traffic.Frame
	var ta tally
	g.Next(&made)
	if n := testing.AllocsPerRun(1000, func() {
		g.Next(&made)
		made.Stamp(1)
		f := capture.Frame{Data: made.Data, Len: len(made.Data), LinkType: capture.LinkTypeEthernet}
		ta.add(&f, 2)
	}); n != 0 {
		t.Errorf("%v allocations per frame", n)
	}
	if ta.sequence.Unique != ta.frames || ta.corrupt+ta.foreign != 0 {
		t.Errorf("%d of %d frames recognised", ta.sequence.Unique, ta.frames)
	}
}

func BenchmarkTally(b *testing.B) {
	for _, size := range []int{60, 400, 1400} {
		b.Run(traffic.Fixed(size).String(), func(b *testing.B) {
			g, err := traffic.New(traffic.Plan{Size: traffic.Fixed(size)})
			if err != nil {
				b.Fatal(err)
			}
			var frames [64]traffic.Frame
			for i := range frames {
				g.Next(&frames[i])
			}
			var ta tally
			b.ReportAllocs()
			for i := range b.N {
				data := frames[i%64].Data
				ta.add(&capture.Frame{Data: data, Len: len(data), LinkType: capture.LinkTypeEthernet}, 1)
			}
		})
	}
}
