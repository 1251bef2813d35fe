package engine

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"capstan/interceptor/internal/memory"
	"capstan/pkg/capture"
	"capstan/pkg/reassembly"
)

// rounds brings frames to several shards and the records back in order.
//
// What the source yields is gathered in rounds. When a round is full or the source
// pauses, it goes to all shards. Those divide its frames in chunks, decode them, whoever
// has time for the next, and so find whose each is; then each shard takes its own. When
// all are done with it, its records are merged and leave; those of a shard that has very
// many, as one event may complete those of all connections, leave in batches before. So
// every record of a round comes before every record of the next one, and within a round
// the instant of the packet that completed a record tells its place. maxRounds may be
// under way; whoever feeds the engine waits for one to be free. A file waits then; the
// server of a live source fills its ring, and counts what it drops.
type rounds struct {
	most    bounds
	publish func(front, ...Counters)
	write   func([]byte)
	drained func()           // nil: nobody asks
	memory  []*memory.Holder // the shards; nil: there is no cap

	filling *round
	idle    []*round     // that are over
	held    atomic.Int64 // bytes that all others hold which are not over
	blocked atomic.Int64 // nanoseconds that were waited for them
	lender  lender
	free    chan *round
	shards  []chan *round // one for each worker
	started chan *round   // in order, for the merger
	working sync.WaitGroup
	merging sync.WaitGroup
	found   Decoded // in the frames of all rounds that are over; the merger's
}

// newRounds starts cfg.Shards workers and the merger. They end with close.
func newRounds(cfg Config, publish func(front, ...Counters)) *rounds {
	r := &rounds{most: newBounds(&cfg), publish: publish, lender: lender{idle: make(chan *loan, maxIdle)}, write: cfg.Write, drained: cfg.Drained,
		free: make(chan *round, maxRounds), started: make(chan *round, maxRounds), shards: make([]chan *round, cfg.Shards)}
	for range maxRounds {
		r.free <- &round{shares: make([]share, cfg.Shards), counts: make([]Counters, cfg.Shards)}
	}
	for i := range r.shards {
		r.shards[i] = make(chan *round, maxRounds)
		w := newWorker(cfg, i, r.most.batch)
		if w.shard.memory != nil {
			r.memory = append(r.memory, w.shard.memory)
		}
		r.working.Go(func() { w.work(r.shards[i]) })
	}
	r.merging.Go(r.merge)
	r.filling = r.next()
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
	return len(d.frames) >= r.most.frames || d.size >= r.most.bytes || d.lentLen >= r.most.lent
}

// event gathers what happens behind the frames so far.
func (r *rounds) event(x event) {
	x.before = len(r.filling.frames)
	r.filling.events = append(r.filling.events, x)
}

// dispatch hands what was gathered to the shards, and waits until another round
// is free.
func (r *rounds) dispatch(f front, drained bool) {
	d := r.filling
	d.front, d.drained = f, drained
	r.start(d)
	for range memory.All {
		if !r.shedding() {
			break
		}
		d = r.next()
		d.front, d.drained = f, false
		r.start(d)
	}
	r.filling = r.next()
}

// start hands a round to the shards.
func (r *rounds) start(d *round) {
	d.split()
	d.held = d.lentLen + len(d.bytes)
	r.held.Add(int64(d.held))
	d.work.Add(len(r.shards))
	for _, shard := range r.shards {
		shard <- d
	}
	r.started <- d
}

// shedding reports whether shards have memory to shed yet once all rounds are over. Until then
// nothing comes but rounds without frames, in each of which they do.
func (r *rounds) shedding() bool {
	if !slices.ContainsFunc(r.memory, (*memory.Holder).Shedding) {
		return false
	}
	for len(r.idle) < maxRounds {
		r.regain()
	}
	return slices.ContainsFunc(r.memory, (*memory.Holder).Shedding)
}

// next returns a round that is over, once those that are not hold no more than they may
// or there are none.
func (r *rounds) next() *round {
	for len(r.idle) == 0 || r.held.Load() > int64(r.most.all) {
		r.regain()
	}
	last := len(r.idle) - 1
	d := r.idle[last]
	r.idle = r.idle[:last]
	return d
}

// regain waits for a round to be over.
func (r *rounds) regain() {
	select {
	case d := <-r.free:
		r.idle = append(r.idle, d)
	default:
		from := time.Now()
		r.idle = append(r.idle, <-r.free)
		r.blocked.Add(int64(time.Since(from)))
	}
}

// end has a round that is over used again.
func (r *rounds) end(d *round) {
	r.held.Add(-int64(d.held))
	d.reset(&r.lender, r.most)
	r.free <- d
}

// handover tells of what is under way. Any goroutine may ask.
func (r *rounds) handover() Handover {
	return Handover{Held: int(r.held.Load()), Blocked: time.Duration(r.blocked.Load())}
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
