package engine

import (
	"math"

	"capstan/pkg/prefetch"
	capstanv1 "capstan/proto/capstan/v1"
)

// worker does the work of one of several shards.
type worker struct {
	shard    *shard
	number   int
	maxBatch int

	// Of the round in hand.
	round   *round
	share   *share
	batch   *batch   // that records go to: the share's, or one of further
	further [2]batch // by turns: when one is taken, the merger is done with the other
	instant uint64
}

func newWorker(cfg Config, number, maxBatch int) *worker {
	w := &worker{number: number, maxBatch: maxBatch}
	cfg.Exchange.Emit = func(x *capstanv1.Exchange) { w.emit(x, cfg.Encode) }
	w.shard = newShard(cfg)
	return w
}

// emit takes a record.
func (w *worker) emit(x *capstanv1.Exchange, encode func([]byte, *capstanv1.Exchange) []byte) {
	turn := w.shard.assembler.Turn()
	if turn == 0 {
		turn = math.MaxUint64 // a segment comes after what is due at its instant
	}
	p := w.batch
	from := len(p.encoded)
	p.encoded = encode(p.encoded, x)
	if len(p.encoded) == from {
		return
	}
	p.records = append(p.records, record{w.instant, turn, from, len(p.encoded)})
	if len(p.encoded) >= w.maxBatch {
		w.handOver()
	}
}

// handOver hands the merger the records so far and begins another batch, which may have
// to wait for the merger.
func (w *worker) handOver() {
	if w.share.further == nil {
		w.share.further = make(chan batch)
		w.batch = &w.further[0]
		w.round.work.Done() // as far as the merger waits for all shards
		return
	}
	w.share.further <- *w.batch
	if w.batch == &w.further[0] {
		w.batch = &w.further[1]
	} else {
		w.batch = &w.further[0]
	}
	w.batch.reset(w.maxBatch)
}

// work takes part in rounds.
func (w *worker) work(in <-chan *round) {
	for d := range in {
		w.begin(d)
		w.run()
		w.end()
	}
}

func (w *worker) begin(d *round) {
	w.round, w.share = d, &d.shares[w.number]
	w.batch = &w.share.batch
}

func (w *worker) end() {
	w.shard.decoding.forget()
	// However few segments come, a shard holds what it holds.
	w.shard.relieve()
	w.round.counts[w.number] = w.shard.counters()
	if w.share.further == nil {
		w.round.work.Done()
		return
	}
	w.share.further <- *w.batch
	close(w.share.further)
	w.further = [2]batch{} // the merger has it yet
}

func (w *worker) run() {
	d := w.round
	events := d.events
	for i, m := range w.share.frames {
		d.prefetch(w.share.frames[i:])
		events = upTo(int(m.frame), events, w.event)
		w.frame(d, m)
	}
	upTo(len(d.frames), events, w.event)
}

// framesAhead is how many frames a shard has the processor load ahead of it. What it
// takes was last in the cache of another.
const framesAhead = 2

// prefetch asks for what a shard that has come to the first of those frames takes soon.
func (d *round) prefetch(frames []mine) {
	if len(frames) > 2*framesAhead {
		prefetch.Value(&d.frames[frames[2*framesAhead].frame])
	}
	if len(frames) > framesAhead {
		prefetch.Bytes(d.frames[frames[framesAhead].frame].Data)
	}
}

func (w *worker) frame(d *round, m mine) {
	f := &d.frames[m.frame]
	w.instant = f.number
	if m.segment == decodedLater {
		w.shard.frame(&f.Frame, f.at())
	} else {
		w.shard.segment(&d.segments[m.segment], f.Timestamp, f.at())
	}
}

func (w *worker) event(x *event) {
	w.instant = x.at.Number
	w.shard.happen(x)
}
