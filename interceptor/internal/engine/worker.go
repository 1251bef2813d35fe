package engine

import (
	"math"

	capstanv1 "capstan/proto/capstan/v1"
)

// worker is one of several shards. It does what is to be done with its frames of
// each round.
//
// Frames of which their addresses don't tell whose they are, those of tunnels,
// fragments, and all that is no TCP, are decoded by each worker, which takes the
// segments that are its own. The first one counts them.
type worker struct {
	shard          *shard
	number, shards uint64
	common         decoding

	// Of the round in hand.
	share   *share
	instant uint64
}

func newWorker(cfg Config, number int) *worker {
	w := &worker{number: uint64(number), shards: uint64(cfg.Shards), common: newDecoding(&cfg)}
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
		if w.number == 0 {
			d.decoded = w.common.counters()
		}
		d.work.Done()
	}
}

func (w *worker) round(d *round) {
	own, common, events := w.share.frames, d.common, d.events
	for len(own)+len(common) > 0 {
		from := &own
		if len(own) == 0 || len(common) > 0 && common[0] < own[0] {
			from = &common
		}
		number := (*from)[0]
		*from = (*from)[1:]
		for len(events) > 0 && events[0].before <= int(number) {
			w.event(&events[0])
			events = events[1:]
		}
		w.frame(&d.frames[number], from == &common)
	}
	for i := range events {
		w.event(&events[i])
	}
}

func (w *worker) frame(f *timed, common bool) {
	w.instant = f.number
	switch {
	case !common:
		w.shard.frame(&f.Frame, f.at())
	case w.common.find(&f.Frame, f.now) && w.common.segment.Key.Hash()%w.shards == w.number:
		w.shard.segment(&w.common.segment, f.Timestamp, f.at())
	}
}

func (w *worker) event(x *event) {
	w.instant = x.at.Number
	w.common.happen(x)
	w.shard.happen(x)
}
