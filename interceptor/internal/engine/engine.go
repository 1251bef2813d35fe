package engine

import (
	"sync"
	"time"

	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/l7/http1"
	"capstan/interceptor/internal/l7/http2"
	"capstan/interceptor/internal/l7/websocket"
	"capstan/interceptor/internal/memory"
	"capstan/pkg/capture"
	"capstan/pkg/defrag"
	"capstan/pkg/packet"
	"capstan/pkg/prefetch"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// Config configures an Engine. The zero value of each part has its own
// package's defaults.
type Config struct {
	Decode     packet.Config
	Defrag     defrag.Config
	Reassembly reassembly.Config // the limits of one shard
	HTTP1      http1.Config
	HTTP2      http2.Config
	WebSocket  websocket.Config
	// NoConnectionRecords leaves out the records of connections that carry TLS, a
	// protocol that is not known, or HTTP of which nothing else is told. They are counted
	// all the same.
	NoConnectionRecords bool
	// Exchange.Emit is called from the goroutine that feeds the engine, and not
	// at all if there are several shards.
	Exchange exchange.Config
	// Live tells that Idle is called while the source is silent. So a frame whose
	// time is far ahead of all others comes of no pause, but of another clock.
	Live bool
	// Shards is among how many goroutines the connections are divided; up to 1
	// means that the goroutine that feeds the engine does the work. The records,
	// and their order, are the same as long as no limit is reached.
	Shards int
	// Encode and Write take the place of Exchange.Emit if there are several
	// shards, since a record has to wait for its turn. Encode appends a record to
	// dst, and may be called from several goroutines; Write takes what Encode has
	// appended for one record, from one goroutine, and doesn't keep it.
	Encode func(dst []byte, x *capstanv1.Exchange) []byte
	Write  func(encoded []byte)
	// Memory, if set, tells when memory has to be shed. Engines may share it.
	Memory *memory.Budget
	// Engines is how many do, of as many shards each. Up to 1 means that it is this one's
	// alone.
	Engines int
	// Drained, if set, is called like Emit or Write when all records are out that
	// came of the frames up to a call of Engine.Drained.
	Drained func()
}

// Engine is the way of a frame to its exchange for one source. Frame, Drained,
// Idle, SourceLost and Finish belong to one goroutine; Snapshot to any.
type Engine struct {
	// Immutable.
	cfg    Config
	shard  *shard  // nil with several, which decode for themselves
	rounds *rounds // nil with one

	// Owned by the goroutine that feeds the engine.
	clock   reassembly.Clock
	leaping leaping
	front   front

	// With one shard.
	decoding decoding
	buffer   []byte         // that is lent
	ahead    prefetch.Ahead // sources have one frame behind the other

	// mu guards snapshot, a copy of the counters made now and then.
	mu       sync.Mutex
	snapshot published
}

// publishEvery is how many frames may pass between two snapshots when a source
// never pauses.
const publishEvery = 4096

// New returns an Engine that hands each exchange to cfg.Exchange.Emit. Finish
// ends it.
func New(cfg Config) *Engine {
	e := &Engine{cfg: cfg}
	if cfg.Shards > 1 {
		e.rounds = newRounds(cfg, e.publish)
	} else {
		e.decoding = newDecoding(&cfg)
		e.shard = newShard(cfg, e.decoding.defrag)
	}
	return e
}

// Exchange implements capture.Buffers: a source that reads all frames into what it
// is lent here spares shards a copy of them. It belongs to the goroutine that
// feeds the engine.
func (e *Engine) Exchange(n int) []byte {
	if e.rounds != nil {
		return e.rounds.lender.exchange(n)
	}
	if len(e.buffer) < n {
		e.buffer = make([]byte, max(n, loanLen))
	}
	return e.buffer
}

// Frame takes the next frame. It keeps nothing of f, but for data in a buffer that
// Exchange has lent.
// Next: decoding.decode and shard.segment, or rounds.frame.
func (e *Engine) Frame(f *capture.Frame) {
	if len(e.leaping.frames) == 0 {
		if at, ok := e.clock.Step(f.Timestamp); ok {
			e.frame(f, at)
			return
		}
	}
	e.far(f)
}

// frame takes a frame at its instant.
func (e *Engine) frame(f *capture.Frame, at reassembly.Instant) {
	c := &e.front
	c.frames++
	c.bytes += uint64(len(f.Data))
	if f.Truncated() {
		c.truncated++
	}
	if e.rounds != nil {
		if e.rounds.frame(f, at) {
			e.dispatch(false)
		}
		return
	}
	e.ahead.Behind(f.Data)
	if at.Due {
		e.happen(event{at: at})
	}
	if s := e.decoding.decode(f, at.Now); s != nil {
		e.shard.segment(s, f.Timestamp, at)
	} else {
		e.shard.poll()
	}
	if c.frames%publishEvery == 0 {
		e.publishOwn()
	}
}

// happen lets something happen that is no frame.
func (e *Engine) happen(x event) {
	if e.rounds != nil {
		e.rounds.event(x)
	} else {
		e.decoding.happen(&x)
		e.shard.happen(&x)
	}
}

// closeAll ends every connection.
func (e *Engine) closeAll(r reassembly.CloseReason) {
	e.settleLeaps(true)
	e.happen(event{at: e.clock.Stand(), close: true, reason: r, time: e.clock.Latest()})
}

// Drained tells that no further frame is waiting.
func (e *Engine) Drained() {
	if e.rounds != nil {
		e.dispatch(true)
		return
	}
	e.shard.rest()
	e.publishOwn()
	if e.cfg.Drained != nil {
		e.cfg.Drained()
	}
}

// Idle tells that a live source has had no frame for the duration d, so that
// timeouts, which run on the frames' time, pass on a silent host too. From a source
// that isn't live d is 0: it only means that none is to be waited for.
func (e *Engine) Idle(d time.Duration) {
	e.settleLeaps(true)
	if d > 0 && e.front.frames > 0 {
		e.happen(event{at: e.clock.Wait(int64(d))})
	}
	e.Drained()
}

// SourceLost tells that frames went by unseen from here on for an unknown
// time. Every connection ends; what comes after it of the same connections is
// judged as joined midstream, so that no response is given to a request whose
// own response passed meanwhile.
func (e *Engine) SourceLost() {
	e.closeAll(reassembly.CloseSourceLost)
	e.Drained()
}

// Finish tells that no frame follows. It returns when all records are out.
func (e *Engine) Finish() {
	e.closeAll(reassembly.CloseEndOfCapture)
	e.Drained()
	if e.rounds != nil {
		e.rounds.close()
	}
}

// dispatch hands the shards what has been gathered for them.
func (e *Engine) dispatch(drained bool) {
	e.front.last = e.clock.Latest()
	e.rounds.dispatch(e.front, drained)
}

// publishOwn publishes the counters of an engine with one shard.
func (e *Engine) publishOwn() {
	e.front.last = e.clock.Latest()
	e.front.decoded = e.decoding.counters()
	e.publish(e.front, e.shard.counters())
}
