package engine

import (
	"bytes"
	"sync/atomic"
	"testing"
	"unsafe"

	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/memory"
	"capstan/interceptor/internal/sink/ndjson"
	capstanv1 "capstan/proto/capstan/v1"
)

// TestManyRecordsAtOnce ends many connections by one event, with large records: they
// leave in order, whatever the number of shards, and no more of them are kept than a
// few batches of each.
func TestManyRecordsAtOnce(t *testing.T) {
	const connections, padding = 3000, 16 << 10
	var w wire
	for i := range connections {
		w.connect(uint16(1024+i)).say(0, get(1))
	}
	pad := bytes.Repeat([]byte{' '}, padding)
	encode := func(dst []byte, x *capstanv1.Exchange) []byte { return append(ndjson.Append(dst, x), pad...) }
	var want []byte
	for _, shards := range []int{1, 2, 3, 8} {
		var out []byte
		var waiting, most atomic.Int64
		e := New(Config{
			Shards:   shards,
			Exchange: exchange.Config{Source: "test", Emit: func(x *capstanv1.Exchange) { out = encode(out, x) }},
			Encode: func(dst []byte, x *capstanv1.Exchange) []byte {
				from := len(dst)
				dst = encode(dst, x)
				waiting.Add(int64(len(dst) - from))
				return dst
			},
			Write: func(b []byte) {
				most.Store(max(most.Load(), waiting.Load()))
				waiting.Add(-int64(len(b)))
				out = append(out, b...)
			},
		})
		for i := range w.frames {
			e.Frame(&w.frames[i])
		}
		e.Finish()
		if want == nil {
			want = out
		}
		if !bytes.Equal(out, want) {
			t.Errorf("%d shards: %d bytes of records, which differ from those of one shard, %d", shards, len(out), len(want))
		}
		// The first batch, the one that is merged, the one that waits, and the one to come.
		if limit := int64(4 * shards * (maxBatch + 2*padding)); most.Load() > limit {
			t.Errorf("%d shards: %d bytes of records waited, of %d", shards, most.Load(), len(out))
		}
	}
}

// TestShortRecordsAreFewInABatch: what a record takes besides its encoding counts as well,
// which is next to nothing where nobody wants it.
func TestShortRecordsAreFewInABatch(t *testing.T) {
	if n := unsafe.Sizeof(record{}); n != recordLen {
		t.Errorf("a record takes %d bytes of a batch, not %d", n, recordLen)
	}
	const most = 1000
	w := newWorker(Config{}, 0, most)
	d := &round{shares: make([]share, 1), counts: make([]Counters, 1)}
	d.joined.Add(1)
	d.work.Add(1)
	w.begin(d)
	emit := func(n int) {
		for range n {
			w.emit(nil, func(dst []byte, _ *capstanv1.Exchange) []byte { return append(dst, 0) })
		}
	}
	emit(most/recordLen + 1)
	s := &d.shares[0]
	if s.further == nil || len(s.records) > most/recordLen {
		t.Errorf("%d records are in a batch of %d bytes", len(s.records), most)
	}
	s.records = make([]record, 0, 3*most/recordLen)
	if s.reset(most); cap(s.records) > 0 {
		t.Error("more room than two batches take is kept")
	}
}

// TestRoundsUnderACap: rounds of very many shards fit, as those of few do.
func TestRoundsUnderACap(t *testing.T) {
	if n := unsafe.Sizeof(timed{}) + unsafe.Sizeof(found{}); n != frameLen {
		t.Errorf("a frame takes %d bytes of a round, not %d", n, frameLen)
	}
	const limit, little = 256 << 20, 32 << 20
	for _, shards := range []int{2, 8, 64, 256} {
		b := newBounds(&Config{Shards: shards, Memory: budgetOf(t, limit)})
		if in := b.all + maxRounds*(b.frames*frameLen+b.bytes+b.batch*shards); in > 4*limit/roundsShare {
			t.Errorf("%d shards: rounds take %d MiB of %d", shards, in>>20, limit>>20)
		}
		b = newBounds(&Config{Shards: shards, Memory: budgetOf(t, little)})
		if in := maxRounds * b.frames * frameLen; in > little/roundsShare {
			t.Errorf("%d shards: frames in rounds take %d KiB of %d", shards, in>>10, little>>10)
		}
	}
	for _, engines := range []int{2, 8, 20} { // of a cap of theirs all
		b := newBounds(&Config{Shards: 8, Engines: engines, Memory: budgetOf(t, limit)})
		if in := engines * b.all; in > limit/roundsShare && b.all > 2*2*loanLen {
			t.Errorf("%d engines: rounds hold %d MiB of %d", engines, in>>20, limit>>20)
		}
		if in := engines * maxRounds * (b.frames*frameLen + b.bytes + b.batch*8); in > 3*limit/roundsShare {
			t.Errorf("%d engines: rounds take %d MiB of %d", engines, in>>20, limit>>20)
		}
	}
}

func budgetOf(t *testing.T, limit uint64) *memory.Budget {
	b := memory.NewBudget(limit)
	t.Cleanup(b.Close)
	return b
}

// TestHugeFramesAreLetGo: once the rounds are over nobody keeps the buffers of frames
// too large for another use, and meanwhile no more of them than fit under the cap, but for
// one round.
func TestHugeFramesAreLetGo(t *testing.T) {
	const shards, connections, huge = 8, 64, 4 << 20
	over := make(chan struct{}, 1)
	e := New(Config{
		Shards: shards, Memory: budgetOf(t, 256<<20), Exchange: exchange.Config{Source: "test"},
		Encode: ndjson.Append, Write: func([]byte) {}, Drained: func() { over <- struct{}{} },
	})
	var w wire
	for i := range connections {
		w.connect(uint16(40000 + i))
	}
	before := heap()
	for i := range w.frames {
		f := w.frames[i]
		f.Data = e.Exchange(huge)[:len(f.Data)]
		copy(f.Data, w.frames[i].Data)
		e.Frame(&f)
		if held, most := e.Handover().Held, e.rounds.most.all; held > most {
			t.Fatalf("%d bytes are held, of at most %d", held, most)
		}
	}
	e.Exchange(1)
	e.Drained()
	<-over
	if after := heap(); after > before+3*huge {
		t.Errorf("%d MiB in use, %d before", after>>20, before>>20)
	}
	e.Finish()
	<-over
}

// TestHugeRecordsWait: a record that is far more than a round is to keep waits for the merger, and so
// do those behind it.
func TestHugeRecordsWait(t *testing.T) {
	const most = 1000
	w := newWorker(Config{}, 0, most)
	d := &round{shares: make([]share, 1), counts: make([]Counters, 1)}
	d.joined.Add(1)
	d.work.Add(1)
	w.begin(d)
	over := make(chan struct{})
	go func() {
		w.emit(nil, func(dst []byte, _ *capstanv1.Exchange) []byte { return append(dst, make([]byte, 3*most)...) })
		w.emit(nil, func(dst []byte, _ *capstanv1.Exchange) []byte { return append(dst, 1) })
		w.end()
		close(over)
	}()
	d.work.Wait()
	s := &d.shares[0]
	if n := s.size(); n > 2*most {
		t.Errorf("the round keeps %d bytes", n)
	}
	c := cursor{batch: s.batch, further: s.further}
	for _, want := range []int{3 * most, 1} {
		r := c.record()
		if r == nil || r.to-r.from != want {
			t.Fatalf("%v instead of a record of %d bytes", r, want)
		}
		c.next++
	}
	if r := c.record(); r != nil {
		t.Errorf("one more record: %v", r)
	}
	<-over
}
