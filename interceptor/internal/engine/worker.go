package engine

import (
	"math"

	"capstan/pkg/defrag"
	"capstan/pkg/packet"
	"capstan/pkg/prefetch"
	capstanv1 "capstan/proto/capstan/v1"
)

// worker does the work of one of several shards.
type worker struct {
	shard    *shard
	decode   packet.Config
	joining  *decoding // of fragments, for all shards; nil: another does it
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
	w := &worker{decode: cfg.Decode, number: number, maxBatch: maxBatch}
	var fragments *defrag.Defragmenter
	if number == 0 {
		d := newDecoding(&cfg)
		w.joining, fragments = &d, d.defrag
	}
	cfg.Exchange.Emit = func(x *capstanv1.Exchange) { w.emit(x, cfg.Encode) }
	w.shard = newShard(cfg, fragments)
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
	if p.size() >= w.maxBatch {
		w.handOver()
	}
}

// handOver hands the merger the records so far and begins another batch, which may have
// to wait for the merger. So does the first if one record is far more than a round is to keep.
func (w *worker) handOver() {
	if w.share.further == nil {
		w.share.further = make(chan batch)
		huge := w.batch.size() > 2*w.maxBatch
		w.batch = &w.further[0]
		if huge {
			w.share.batch, w.further[0] = batch{}, w.share.batch
		}
		w.round.work.Done() // as far as the merger waits for all shards
		if !huge {
			return
		}
	}
	w.share.further <- *w.batch
	if w.batch == &w.further[0] {
		w.batch = &w.further[1]
	} else {
		w.batch = &w.further[0]
	}
	w.batch.reset(w.maxBatch)
}

// work takes part in rounds. It decodes one ahead, so that there is something to do
// while others are not done with their chunks.
func (w *worker) work(in <-chan *round) {
	for d := <-in; d != nil; {
		d.decode(w.decode)
		var next *round
		select {
		case next = <-in:
			if next != nil {
				next.decode(w.decode)
			}
		default:
		}
		d.decoded.Wait()
		w.begin(d)
		w.run()
		w.end()
		if d = next; d == nil {
			d = <-in
		}
	}
	if h := w.shard.memory; h != nil {
		h.Leave()
	}
}

func (w *worker) begin(d *round) {
	w.round, w.share = d, &d.shares[w.number]
	w.batch = &w.share.batch
	if w.joining != nil {
		w.joining.joinAll(d)
		d.joined.Done()
	}
}

func (w *worker) end() {
	w.relieve()
	c := &w.round.counts[w.number]
	*c = w.shard.counters()
	if w.joining != nil {
		c.Decoded = w.joining.counters()
	}
	if w.share.further == nil {
		w.round.work.Done()
		return
	}
	w.share.further <- *w.batch
	close(w.share.further)
	w.further = [2]batch{} // the merger has it yet
}

// relieve sheds what the process has no memory for, however few segments come.
func (w *worker) relieve() {
	h := w.shard.memory
	if h == nil {
		return
	}
	h.Relieve()
	if w.round.drained && !h.Shedding() {
		w.shard.away()
	}
}

func (w *worker) run() {
	d := w.round
	events := d.events
	for i := range d.chunks {
		c := &d.chunks[i]
		mine := c.shares[w.number]
		for k, m := range mine {
			c.prefetch(mine[k:])
			events = upTo(c.before+int(m.frame), events, w.event)
			if m.found >= 0 {
				w.segment(&c.found[m.found])
				continue
			}
			d.joined.Wait()
			if f := &c.fragments[^m.found]; f.shard == w.number {
				w.segment(&f.whole)
			}
		}
	}
	upTo(len(d.frames), events, w.event)
}

func (w *worker) segment(s *found) {
	w.instant = s.number
	w.shard.segment(&s.Segment, s.time, s.at())
	s.Payload = nil // which would keep a buffer alive that is not lent again
}

// Of how many segments a shard has the processor load the headers and the payload ahead
// of it. What it takes was last in the cache of another.
const (
	segmentsAhead = 4
	payloadsAhead = 2
)

// prefetch asks for what a shard that has come to the first of those takes soon.
func (c *chunk) prefetch(share []mine) {
	if len(share) > segmentsAhead && share[segmentsAhead].found >= 0 {
		prefetch.Value(&c.found[share[segmentsAhead].found])
	}
	if len(share) > payloadsAhead && share[payloadsAhead].found >= 0 {
		prefetch.Bytes(c.found[share[payloadsAhead].found].Payload)
	}
}

func (w *worker) event(x *event) {
	w.instant = x.at.Number
	w.shard.happen(x)
}
