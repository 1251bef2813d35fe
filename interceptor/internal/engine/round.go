package engine

import (
	"slices"
	"sync"
	"sync/atomic"

	"capstan/pkg/capture"
	"capstan/pkg/packet"
	"capstan/pkg/reassembly"
)

// Sizes. A round holds a few hundred frames for each shard, since handing one over
// costs about as much as a few. So many rounds keep every shard busy while another, or
// the merger, waits to be woken, which may take longer than the work of a round.
const (
	maxRounds      = 16
	maxRoundFrames = 256       // times the shards
	maxRoundBytes  = 128 << 10 // times the shards
	// maxRoundLent bounds the lent buffers that a round keeps from being used again,
	// which may hold much that is in no frame. Usually they are less.
	maxRoundLent = 4 * maxRoundBytes // times the shards
	// maxBatch bounds the records of a shard that wait to be merged, but for the last.
	maxBatch = 512 << 10

	// maxRoundShards is how many shards a round grows with: rounds of more would hold
	// more than they are worth.
	maxRoundShards = 16
	// frameLen is what a round takes for a frame and the segment in it, besides its data.
	frameLen = 64 + 128
	// roundsShare is which part of a cap on memory all rounds of all engines may take for
	// that, for the data, for buffers, or for records: none of them can be shed.
	roundsShare = 48
)

// bounds is how large rounds may be: each; all that are under way, of which one may be
// larger.
type bounds struct{ frames, bytes, lent, batch, all int }

func newBounds(cfg *Config) bounds {
	n := min(cfg.Shards, maxRoundShards)
	b := bounds{frames: n * maxRoundFrames, bytes: n * maxRoundBytes, lent: n * maxRoundLent, batch: maxBatch, all: maxRounds * n * maxRoundLent}
	if cfg.Memory != nil {
		part := int(cfg.Memory.Limit()) / roundsShare / max(cfg.Engines, 1)
		most := part / maxRounds
		b.frames = min(b.frames, max(most/frameLen, 1))
		b.bytes, b.batch = min(b.bytes, most), min(b.batch, most/cfg.Shards)
		b.lent = min(b.lent, max(most, 2*loanLen))
		b.all = max(part, 2*b.lent)
	}
	return b
}

// round is some work for all shards, and what came of it.
type round struct {
	frames  []timed
	events  []event
	bytes   []byte // data of frames that are not lent, and of datagrams
	size    int    // of the data of all frames
	lent    []*loan
	lentLen int   // of all of them
	held    int   // bytes in memory that it keeps from the dispatch on
	front   front // when it was dispatched
	drained bool  // the source has paused

	chunks  []chunk        // of all frames
	taken   atomic.Int32   // so many chunks are decoded, or are being
	decoded sync.WaitGroup // all chunks
	joined  sync.WaitGroup // all fragments

	work   sync.WaitGroup
	shares []share    // by shard
	counts []Counters // of the shards when they were done
}

// timed is a frame with its instant. It goes from the cache of one processor to that
// of another: 64 bytes are one line there.
type timed struct {
	capture.Frame
	now    int64
	number uint64
}

// event is what happens besides frames: what was due at an instant, or all connections
// end.
type event struct {
	at     reassembly.Instant
	before int // so many frames of the round
	close  bool
	reason reassembly.CloseReason // of the end
	time   int64                  // that it has in records
}

// upTo has happen take those of the events that come before that frame, and returns the
// others.
func upTo(frame int, events []event, happen func(*event)) []event {
	for len(events) > 0 && events[0].before <= frame {
		happen(&events[0])
		events = events[1:]
	}
	return events
}

// share is what came of a shard's part of a round.
type share struct {
	batch
	further chan batch // the batches behind it, until it is closed; nil if there are none
}

// split makes chunks of the frames.
func (d *round) split() {
	n := (len(d.frames) + chunkFrames - 1) / chunkFrames
	d.chunks = slices.Grow(d.chunks[:0], n)[:n]
	for i := range d.chunks {
		c := &d.chunks[i]
		c.before = i * chunkFrames
		c.frames = d.frames[c.before:min(c.before+chunkFrames, len(d.frames))]
		if c.shares == nil {
			c.shares = make([][]mine, len(d.shares))
		}
	}
	d.taken.Store(0)
	d.decoded.Add(len(d.chunks))
	d.joined.Add(1)
}

// decode decodes chunks until nobody has to begin with another.
func (d *round) decode(cfg packet.Config) {
	for {
		n := int(d.taken.Add(1)) - 1
		if n >= len(d.chunks) {
			return
		}
		d.chunks[n].decode(cfg)
		d.decoded.Done()
	}
}

func (d *round) copy(data []byte) []byte {
	from := len(d.bytes)
	d.bytes = append(d.bytes, data...)
	return d.bytes[from:len(d.bytes):len(d.bytes)]
}

// reset makes a round ready for the next use.
func (d *round) reset(l *lender, most bounds) {
	for _, loan := range d.lent {
		l.release(loan)
	}
	clear(d.lent)
	d.lent, d.lentLen = d.lent[:0], 0
	if cap(d.bytes) > 2*most.bytes {
		d.bytes = nil // there were datagrams of many rounds
	}
	for i := range d.chunks {
		d.chunks[i].reset()
	}
	d.frames, d.chunks, d.events, d.bytes, d.size = d.frames[:0], d.chunks[:0], d.events[:0], d.bytes[:0], 0
	for i := range d.shares {
		s := &d.shares[i]
		s.further = nil
		s.batch.reset(most.batch)
	}
}
