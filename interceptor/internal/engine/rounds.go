package engine

import (
	"cmp"
	"sync"

	"capstan/pkg/capture"
	"capstan/pkg/packet"
	"capstan/pkg/reassembly"
)

// rounds brings frames to several shards and the records back in order.
//
// What the source yields is gathered in rounds. When a round is full or the source
// pauses, its frames are divided by their addresses, and it goes to all shards. When
// all are done with it, its records are merged and leave. So every record of a round
// comes before every record of the next one, and within a round the instant of the
// packet that completed a record tells its place. maxRounds may be under way; whoever
// feeds the engine waits for one to be free. A file waits then; the server of a live
// source fills its ring, and counts what it drops.
//
// Shards decode their frames, but for those of which only decoding tells whose they
// are: of tunnels, fragments, and rare links.
type rounds struct {
	scoped   bool
	decoding decoding // of what shards don't
	publish  func(front, ...Counters)
	write    func([]byte)
	drained  func() // nil: nobody asks

	filling *round
	lender  lender
	free    chan *round
	shards  []chan *round // one for each worker
	started chan *round   // in order, for the merger
	working sync.WaitGroup
	merging sync.WaitGroup
}

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

	// keepEncoded is the most room for records that a share keeps.
	keepEncoded = 512 << 10
)

// round is some work for all shards, and what came of it.
type round struct {
	frames   []timed
	events   []event
	segments []packet.Segment // that no shard has to decode
	bytes    []byte           // data of frames that are not lent, and of datagrams
	size     int              // of the data of all frames
	lent     []*loan
	lentLen  int   // of all of them
	front    front // when it was dispatched
	drained  bool  // the source has paused
	work     sync.WaitGroup
	shares   []share    // by shard
	counts   []Counters // of the shards when they were done
}

// timed is a frame with its instant. It goes from the cache of one processor to that
// of another: 64 bytes are one line there.
type timed struct {
	capture.Frame
	now    int64
	number uint64
}

// at returns the instant. What is due at it is an event.
func (t *timed) at() reassembly.Instant { return reassembly.Instant{Now: t.now, Number: t.number} }

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

// share is what a shard has of a round, and what came of it.
type share struct {
	frames  []mine // in order
	records []record
	encoded []byte // of the records
}

// mine is a frame of a shard.
type mine struct {
	frame   int32 // its number in the round
	segment int32 // number in the round of the one it holds, or decodedLater
}

// decodedLater stands for the segment of a frame that the shard is to decode.
const decodedLater = -1

// record is an exchange with its place in the order of all: the instant of the
// packet that completed it; where time did so, then that at which its
// connection came.
type record struct {
	instant, turn uint64
	from, to      int // in the share's encoded
}

func (r *record) compare(o *record) int {
	return cmp.Or(cmp.Compare(r.instant, o.instant), cmp.Compare(r.turn, o.turn))
}

// newRounds starts cfg.Shards workers and the merger. They end with close.
func newRounds(cfg Config, publish func(front, ...Counters)) *rounds {
	r := &rounds{scoped: cfg.Decode.Scoped, decoding: newDecoding(&cfg), publish: publish, lender: lender{idle: make(chan *loan, maxIdle)}, write: cfg.Write, drained: cfg.Drained,
		free: make(chan *round, maxRounds), started: make(chan *round, maxRounds), shards: make([]chan *round, cfg.Shards)}
	for range maxRounds {
		r.free <- &round{shares: make([]share, cfg.Shards), counts: make([]Counters, cfg.Shards)}
	}
	for i := range r.shards {
		r.shards[i] = make(chan *round, maxRounds)
		w := newWorker(cfg, i)
		r.working.Go(func() { w.work(r.shards[i]) })
	}
	r.merging.Go(r.merge)
	r.filling = <-r.free
	return r
}

// frame gathers a frame. It reports whether the round has to be dispatched.
func (r *rounds) frame(f *capture.Frame, at reassembly.Instant) (full bool) {
	d := r.filling
	if at.Due {
		r.event(event{at: at})
	}
	d.frames = append(d.frames, timed{*f, at.Now, at.Number})
	if r.lender.current != nil {
		d.hold(r.lender.current)
	} else {
		d.frames[len(d.frames)-1].Data = d.copy(f.Data)
	}
	d.size += len(f.Data)
	n := len(r.shards)
	return len(d.frames) >= maxRoundFrames*n || d.size >= maxRoundBytes*n || d.lentLen >= maxRoundLent*n
}

func (d *round) copy(data []byte) []byte {
	from := len(d.bytes)
	d.bytes = append(d.bytes, data...)
	return d.bytes[from:len(d.bytes):len(d.bytes)]
}

// event gathers what happens behind the frames so far.
func (r *rounds) event(x event) {
	x.before = len(r.filling.frames)
	r.filling.events = append(r.filling.events, x)
}

// dispatch hands what was gathered to the shards, and waits until another round
// is free.
func (r *rounds) dispatch(f front, drained bool) {
	r.filling.front, r.filling.drained = f, drained
	r.divide(r.filling)
	r.filling.work.Add(len(r.shards))
	for _, shard := range r.shards {
		shard <- r.filling
	}
	r.started <- r.filling
	r.filling = <-r.free
}

// divide tells each shard which frames of a round are its own.
func (r *rounds) divide(d *round) {
	events := d.events
	for i := range d.frames {
		f := &d.frames[i]
		events = upTo(i, events, r.decoding.happen)
		m := mine{frame: int32(i), segment: decodedLater}
		hash, ok := packet.Hash(&f.Frame, r.scoped)
		if !ok {
			s := r.decode(d, f)
			if s == nil {
				continue
			}
			m.segment, hash = int32(len(d.segments)), s.Key.Hash()
			d.segments = append(d.segments, *s)
		}
		share := &d.shares[hash%uint64(len(d.shares))] // as rpcapd's shards
		share.frames = append(share.frames, m)
	}
	upTo(len(d.frames), events, r.decoding.happen)
	d.front.decoded = r.decoding.counters()
}

// decode returns the segment of a frame, nil if it has none. The payload is valid as
// long as the round's data.
func (r *rounds) decode(d *round, f *timed) *packet.Segment {
	s := &r.decoding.segment
	switch r.decoding.decode(&f.Frame) {
	case packet.OutcomeTCP:
		return s
	case packet.OutcomeFragment:
		if r.decoding.join(f.now) {
			s.Payload = d.copy(s.Payload)
			return s
		}
	}
	return nil
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

// merge hands out the records of one round after the other.
func (r *rounds) merge() {
	next := make([]int, len(r.shards)) // record of each share
	for d := range r.started {
		d.work.Wait()
		clear(next)
		for {
			var first *record
			var from int
			for i := range d.shares {
				if next[i] < len(d.shares[i].records) {
					if x := &d.shares[i].records[next[i]]; first == nil || x.compare(first) < 0 {
						first, from = x, i
					}
				}
			}
			if first == nil {
				break
			}
			r.write(d.shares[from].encoded[first.from:first.to])
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
	d.lent, d.lentLen = d.lent[:0], 0
	clear(d.frames) // which would keep buffers alive that are not lent again
	clear(d.segments)
	if cap(d.bytes) > 2*maxRoundBytes*len(d.shares) {
		d.bytes = nil // there were datagrams of many rounds
	}
	d.frames, d.segments, d.events, d.bytes, d.size = d.frames[:0], d.segments[:0], d.events[:0], d.bytes[:0], 0
	for i := range d.shares {
		s := &d.shares[i]
		if cap(s.encoded) > keepEncoded {
			s.encoded = nil
		}
		s.frames = s.frames[:0]
		s.records, s.encoded = s.records[:0], s.encoded[:0]
	}
}
