package engine

import (
	"cmp"
	"math"
	"sync"

	"capstan/pkg/packet"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// rounds brings segments to several shards and their records back in order.
//
// What the source yields is gathered in rounds: a batch for each shard. A round
// is handed to all shards when one of its batches is full or the source pauses;
// when all are done with it, its records are merged and leave. So every record
// of a round comes before every record of the next one, and within a round the
// instant of the packet that completed a record tells its place. maxRounds may
// be under way; whoever feeds the engine waits for one to be free.
type rounds struct {
	publish func(front, ...Counters)
	write   func([]byte)
	drained func() // nil: nobody asks

	filling *round
	free    chan *round
	shards  []chan *round // one for each worker
	started chan *round   // in order, for the merger
	working sync.WaitGroup
	merging sync.WaitGroup
}

// Sizes. A batch holds a few hundred segments, since handing one over costs
// about as much as a few.
const (
	maxRounds     = 4
	maxBatchItems = 256
	maxBatchBytes = 128 << 10

	// keepEncoded is the most room for records that a batch keeps.
	keepEncoded = 1 << 20
)

// round is a batch for each shard.
type round struct {
	batches  []batch
	counters []Counters // of the shards when they were done
	front    front      // when it was dispatched
	drained  bool       // the source has paused
	work     sync.WaitGroup
}

// batch is what a shard has to do in a round, and the records that came of it.
type batch struct {
	items   []item
	bytes   []byte // payload of the segments
	records []record
	encoded []byte // of the records
}

// item is one thing to do.
type item struct {
	kind    itemKind
	reason  reassembly.CloseReason
	at      reassembly.Instant
	time    int64
	segment packet.Segment // owned by the batch
}

type itemKind uint8

const (
	itemSegment itemKind = iota
	itemAdvance
	itemCloseAll
)

// record is an exchange with its place in the order of all: the instant of the
// packet that completed it; where time did so, then that at which its
// connection came.
type record struct {
	instant, turn uint64
	from, to      int // in the batch's encoded
}

func (r *record) compare(o *record) int {
	return cmp.Or(cmp.Compare(r.instant, o.instant), cmp.Compare(r.turn, o.turn))
}

// newRounds starts cfg.Shards workers and the merger. They end with close.
func newRounds(cfg Config, publish func(front, ...Counters)) *rounds {
	r := &rounds{publish: publish, write: cfg.Write, drained: cfg.Drained,
		free: make(chan *round, maxRounds), started: make(chan *round, maxRounds), shards: make([]chan *round, cfg.Shards)}
	for range maxRounds {
		r.free <- &round{batches: make([]batch, cfg.Shards), counters: make([]Counters, cfg.Shards)}
	}
	for i := range r.shards {
		r.shards[i] = make(chan *round, maxRounds)
		r.working.Go(func() { work(cfg, i, r.shards[i]) })
	}
	r.merging.Go(r.merge)
	r.filling = <-r.free
	return r
}

// segment gathers a segment, whose payload it copies since the frame's buffer is
// reused. It reports whether the round has to be dispatched.
func (r *rounds) segment(s *packet.Segment, time int64, at reassembly.Instant) (full bool) {
	b := &r.filling.batches[s.Key.Hash()%uint64(len(r.shards))] // as rpcapd's shards are
	b.items = append(b.items, item{at: at, time: time, segment: *s})
	from := len(b.bytes)
	b.bytes = append(b.bytes, s.Payload...)
	b.items[len(b.items)-1].segment.Payload = b.bytes[from:len(b.bytes):len(b.bytes)]
	return len(b.items) >= maxBatchItems || len(b.bytes) >= maxBatchBytes
}

// all gathers something to do for all shards.
func (r *rounds) all(it item) (full bool) {
	for i := range r.filling.batches {
		b := &r.filling.batches[i]
		b.items = append(b.items, it)
		full = full || len(b.items) >= maxBatchItems
	}
	return full
}

// dispatch hands what was gathered to the shards, and waits until another round
// is free.
func (r *rounds) dispatch(f front, drained bool) {
	r.filling.front, r.filling.drained = f, drained
	r.filling.work.Add(len(r.shards))
	for _, shard := range r.shards {
		shard <- r.filling
	}
	r.started <- r.filling
	r.filling = <-r.free
}

// close ends workers and merger when all is done that was dispatched.
func (r *rounds) close() {
	for _, shard := range r.shards {
		close(shard)
	}
	close(r.started)
	r.working.Wait()
	r.merging.Wait()
}

// work is the worker of shard i.
func work(cfg Config, i int, in <-chan *round) {
	var instant uint64
	var s *shard
	var b *batch
	cfg.Exchange.Emit = func(x *capstanv1.Exchange) {
		turn := s.assembler.Turn()
		if turn == 0 {
			turn = math.MaxUint64 // a segment comes after what is due at its instant
		}
		from := len(b.encoded)
		b.encoded = cfg.Encode(b.encoded, x)
		b.records = append(b.records, record{instant, turn, from, len(b.encoded)})
	}
	s = newShard(cfg)
	for r := range in {
		b = &r.batches[i]
		for j := range b.items {
			it := &b.items[j]
			instant = it.at.Number
			switch it.kind {
			case itemSegment:
				s.segment(&it.segment, it.time, it.at)
			case itemAdvance:
				s.assembler.AdvanceTo(it.at)
			case itemCloseAll:
				s.assembler.CloseAll(it.time, it.reason)
			}
		}
		r.counters[i] = s.counters()
		r.work.Done()
	}
}

// merge hands out the records of one round after the other.
func (r *rounds) merge() {
	next := make([]int, len(r.shards)) // record of each batch
	for d := range r.started {
		d.work.Wait()
		clear(next)
		for {
			var first *record
			var from int
			for i := range d.batches {
				if next[i] < len(d.batches[i].records) {
					if x := &d.batches[i].records[next[i]]; first == nil || x.compare(first) < 0 {
						first, from = x, i
					}
				}
			}
			if first == nil {
				break
			}
			r.write(d.batches[from].encoded[first.from:first.to])
			next[from]++
		}
		r.publish(d.front, d.counters...)
		if d.drained && r.drained != nil {
			r.drained()
		}
		d.reset()
		r.free <- d
	}
}

// reset makes a round ready for the next use.
func (d *round) reset() {
	for i := range d.batches {
		b := &d.batches[i]
		if cap(b.encoded) > keepEncoded {
			b.encoded = nil
		}
		b.items, b.bytes, b.records, b.encoded = b.items[:0], b.bytes[:0], b.records[:0], b.encoded[:0]
	}
}
