package engine

import (
	"math"

	capstanv1 "capstan/proto/capstan/v1"
)

// worker does the work of one of several shards.
type worker struct {
	shard  *shard
	number int

	// Of the round in hand.
	share   *share
	instant uint64
}

func newWorker(cfg Config, number int) *worker {
	w := &worker{number: number}
	cfg.Exchange.Emit = func(x *capstanv1.Exchange) {
		turn := w.shard.assembler.Turn()
		if turn == 0 {
			turn = math.MaxUint64 // a segment comes after what is due at its instant
		}
		from := len(w.share.encoded)
		w.share.encoded = cfg.Encode(w.share.encoded, x)
		w.share.records = append(w.share.records, record{w.instant, turn, from, len(w.share.encoded)})
	}
	w.shard = newShard(cfg)
	return w
}

// work takes part in rounds.
func (w *worker) work(in <-chan *round) {
	for d := range in {
		w.share = &d.shares[w.number]
		w.round(d)
		d.counts[w.number] = w.shard.counters()
		d.work.Done()
	}
}

func (w *worker) round(d *round) {
	events := d.events
	for _, m := range w.share.frames {
		events = upTo(int(m.frame), events, w.event)
		w.frame(d, m)
	}
	upTo(len(d.frames), events, w.event)
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
