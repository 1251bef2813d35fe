package engine

import (
	"cmp"
	"math"
	"sync"

	"capstan/pkg/capture"
	"capstan/pkg/packet"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// rounds brings frames to several shards and the records back in order.
//
// What the source yields is gathered in rounds: a batch for each shard. A round
// is handed to all shards when one of its batches is full or the source pauses;
// when all are done with it, its records are merged and leave. So every record
// of a round comes before every record of the next one, and within a round the
// instant of the packet that completed a record tells its place. maxRounds may
// be under way; whoever feeds the engine waits for one to be free. A file waits
// then; the server of a live source fills its ring, and counts what it drops.
//
// Usual frames are divided by their addresses, and decoded by the shards.
type rounds struct {
	publish func(front, ...worked)
	write   func([]byte)
	drained func() // nil: nobody asks

	filling *round
	lender  lender
	free    chan *round
	shards  []chan *round // one for each worker
	started chan *round   // in order, for the merger
	working sync.WaitGroup
	merging sync.WaitGroup
}

// Sizes. A batch holds a few hundred frames, since handing one over costs
// about as much as a few. So many rounds keep every shard busy while another, or
// the merger, waits to be woken, which may take longer than the work of a round.
const (
	maxRounds     = 16
	maxBatchItems = 256
	maxBatchBytes = 128 << 10

	// keepEncoded is the most room for records that a batch keeps.
	keepEncoded = 512 << 10
)

// round is a batch for each shard.
type round struct {
	batches []batch
	counts  []worked // of the shards when they were done
	front   front    // when it was dispatched
	drained bool     // the source has paused
	lent    []*loan  // what frames are in
	work    sync.WaitGroup
}

// batch is what a shard has to do in a round, and the records that came of it.
type batch struct {
	items    []item
	segments []packet.Segment // of the items that are segments
	bytes    []byte           // data of frames and payload of segments that are not lent
	size     int              // of all data
	records  []record
	encoded  []byte // of the records
}

// item is one thing to do. It goes from the cache of one processor to that of
// another: 64 bytes are one line there.
type item struct {
	kind     itemKind
	reason   reassembly.CloseReason
	linkType capture.LinkType
	vantage  uint32 // the frame's interface
	length   uint32 // the frame's, on the wire; of a segment, its number in the batch
	now      int64  // with number, the instant
	number   uint64
	time     int64
	data     []byte // the frame's
}

// at returns the instant: nobody asks what was due at it.
func (it *item) at() reassembly.Instant { return reassembly.Instant{Now: it.now, Number: it.number} }

type itemKind uint8

const (
	itemFrame   itemKind = iota
	itemSegment          // decoded before, since its place was not to be told otherwise
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
func newRounds(cfg Config, publish func(front, ...worked)) *rounds {
	r := &rounds{publish: publish, lender: lender{idle: make(chan *loan, maxIdle)}, write: cfg.Write, drained: cfg.Drained,
		free: make(chan *round, maxRounds), started: make(chan *round, maxRounds), shards: make([]chan *round, cfg.Shards)}
	for range maxRounds {
		r.free <- &round{batches: make([]batch, cfg.Shards), counts: make([]worked, cfg.Shards)}
	}
	for i := range r.shards {
		r.shards[i] = make(chan *round, maxRounds)
		r.working.Go(func() { work(cfg, i, r.shards[i]) })
	}
	r.merging.Go(r.merge)
	r.filling = <-r.free
	return r
}

// frame gathers a frame that has this hash. It reports whether the round has to
// be dispatched.
func (r *rounds) frame(f *capture.Frame, hash uint64, at reassembly.Instant) (full bool) {
	b := r.batch(hash)
	data := f.Data
	if r.lender.current != nil {
		r.filling.hold(r.lender.current)
	} else {
		data = b.copy(data)
	}
	b.items = append(b.items, item{kind: itemFrame, linkType: f.LinkType, vantage: f.Interface, length: uint32(f.Len), now: at.Now, number: at.Number, time: f.Timestamp, data: data})
	b.size += len(data)
	return b.isFull()
}

// segment is frame for a segment that is decoded. It copies the payload, which may
// lie in a datagram's buffer.
func (r *rounds) segment(s *packet.Segment, time int64, at reassembly.Instant) (full bool) {
	b := r.batch(s.Key.Hash())
	b.items = append(b.items, item{kind: itemSegment, length: uint32(len(b.segments)), now: at.Now, number: at.Number, time: time})
	b.segments = append(b.segments, *s)
	b.segments[len(b.segments)-1].Payload = b.copy(s.Payload)
	b.size += len(s.Payload)
	return b.isFull()
}

// batch returns that of the connections with that hash: as rpcapd's shards are.
func (r *rounds) batch(hash uint64) *batch { return &r.filling.batches[hash%uint64(len(r.shards))] }

func (b *batch) copy(data []byte) []byte {
	from := len(b.bytes)
	b.bytes = append(b.bytes, data...)
	return b.bytes[from:len(b.bytes):len(b.bytes)]
}

func (b *batch) isFull() bool { return len(b.items) >= maxBatchItems || b.size >= maxBatchBytes }

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

// worked are the counters of a shard that decodes, too.
type worked struct {
	Counters
	outcomes [packet.NumOutcomes]uint64
	decode   packet.Stats
}

// worker is who does the work of a shard.
type worker struct {
	shard   *shard
	decoder *packet.Decoder
	frame   capture.Frame
	segment packet.Segment
	worked  worked
}

// work is the worker of shard i.
func work(cfg Config, i int, in <-chan *round) {
	var instant uint64
	var b *batch
	w := worker{decoder: packet.NewDecoder(cfg.Decode)}
	cfg.Exchange.Emit = func(x *capstanv1.Exchange) {
		turn := w.shard.assembler.Turn()
		if turn == 0 {
			turn = math.MaxUint64 // a segment comes after what is due at its instant
		}
		from := len(b.encoded)
		b.encoded = cfg.Encode(b.encoded, x)
		b.records = append(b.records, record{instant, turn, from, len(b.encoded)})
	}
	w.shard = newShard(cfg)
	for r := range in {
		b = &r.batches[i]
		for j := range b.items {
			instant = b.items[j].number
			w.do(b, &b.items[j])
		}
		w.worked.Counters, w.worked.decode = w.shard.counters(), w.decoder.Stats()
		r.counts[i] = w.worked
		r.work.Done()
	}
}

func (w *worker) do(b *batch, it *item) {
	switch it.kind {
	case itemFrame:
		w.frame = capture.Frame{Data: it.data, Len: int(it.length), LinkType: it.linkType, Interface: it.vantage, Timestamp: it.time}
		outcome := w.decoder.Decode(&w.frame, &w.segment)
		w.worked.outcomes[outcome]++
		if outcome == packet.OutcomeTCP {
			w.shard.segment(&w.segment, it.time, it.at())
		}
	case itemSegment:
		w.shard.segment(&b.segments[it.length], it.time, it.at())
	case itemAdvance:
		w.shard.assembler.AdvanceTo(it.at())
	case itemCloseAll:
		w.shard.assembler.CloseAll(it.time, it.reason)
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
		r.publish(d.front, d.counts...)
		if d.drained && r.drained != nil {
			r.drained()
		}
		d.reset(&r.lender)
		r.free <- d
	}
}

// reset makes a round ready for the next use.
func (d *round) reset(l *lender) {
	for _, loan := range d.lent {
		l.release(loan)
	}
	clear(d.lent)
	d.lent = d.lent[:0]
	for i := range d.batches {
		b := &d.batches[i]
		if cap(b.encoded) > keepEncoded {
			b.encoded = nil
		}
		clear(b.items) // which would keep buffers alive that are not lent again
		b.items, b.segments, b.bytes, b.size = b.items[:0], b.segments[:0], b.bytes[:0], 0
		b.records, b.encoded = b.records[:0], b.encoded[:0]
	}
}
