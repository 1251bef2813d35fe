package engine

import (
	"sync"
	"time"

	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/l7/http1"
	"capstan/pkg/capture"
	"capstan/pkg/packet"
	"capstan/pkg/reassembly"
)

// Config configures an Engine. The zero value of each part has its own
// package's defaults.
type Config struct {
	Reassembly reassembly.Config
	HTTP1      http1.Config
	Exchange   exchange.Config // Emit is called from the goroutine that feeds the engine
}

// Engine is the way of a frame to its exchange for one source. Frame, Idle,
// SourceLost and Finish belong to one goroutine; Snapshot to any.
type Engine struct {
	// Immutable.
	cfg Config

	// Owned by the goroutine that feeds the engine.
	segment   packet.Segment // reused for every frame
	assembler *reassembly.Assembler
	recorder  *exchange.Recorder
	http      http1.Stats
	frames    uint64
	bytes     uint64
	truncated uint64
	outcomes  [packet.NumOutcomes]uint64
	protocols [NumProtocols]ProtocolStats
	last      int64 // the latest frame's time

	// mu guards snapshot, a copy of the counters made now and then.
	mu       sync.Mutex
	snapshot Snapshot
}

// ProtocolStats counts the connections of one protocol that carried payload.
type ProtocolStats struct {
	Connections uint64 // ever
	Active      uint64 // now
	// Bytes of payload, in order, counted under the protocol known when they
	// came: the first bytes of most connections are under Undecided.
	Bytes uint64
}

// Snapshot is a consistent copy of an engine's counters.
type Snapshot struct {
	Frames    uint64 // handed to Frame
	Bytes     uint64 // of those frames, as captured
	Truncated uint64 // frames cut by a snap length
	Last      int64  // time of the latest frame, nanoseconds since the epoch
	Outcomes  [packet.NumOutcomes]uint64
	Protocols [NumProtocols]ProtocolStats

	Reassembly reassembly.Stats
	HTTP1      http1.Stats
	Exchange   exchange.Stats
}

// publishEvery is how many frames may pass between two snapshots when a source
// never pauses.
const publishEvery = 4096

// New returns an Engine that hands each exchange to cfg.Exchange.Emit.
func New(cfg Config) *Engine {
	e := &Engine{recorder: exchange.NewRecorder(cfg.Exchange)}
	cfg.HTTP1.Stats = &e.http
	e.cfg = cfg
	e.assembler = reassembly.New(cfg.Reassembly, e.newConnection)
	return e
}

// Frame takes the next frame. It keeps nothing of f.
// Next: packet.Segment.Decode, then reassembly.Assembler.Segment.
func (e *Engine) Frame(f *capture.Frame) {
	e.frames++
	e.bytes += uint64(len(f.Data))
	if f.Truncated() {
		e.truncated++
	}
	outcome := e.segment.Decode(f)
	e.outcomes[outcome]++
	if outcome == packet.OutcomeTCP {
		e.assembler.Segment(&e.segment, f.Timestamp)
	}
	if f.Timestamp > e.last {
		e.last = f.Timestamp
		e.assembler.Advance(f.Timestamp)
	}
	if e.frames%publishEvery == 0 {
		e.publish()
	}
}

// Drained tells that no further frame is waiting.
func (e *Engine) Drained() { e.publish() }

// Idle tells that a live source has had no frame for the duration d, so that
// timeouts, which run on the frames' time, pass on a silent host too.
func (e *Engine) Idle(d time.Duration) {
	if e.last != 0 {
		e.assembler.Advance(e.last + int64(d))
	}
	e.publish()
}

// SourceLost tells that frames went by unseen from here on for an unknown
// time. Every connection ends; what comes after it of the same connections is
// judged as joined midstream, so that no response is given to a request whose
// own response passed meanwhile.
func (e *Engine) SourceLost() {
	e.assembler.CloseAll(e.last, reassembly.CloseSourceLost)
	e.publish()
}

// Finish tells that no frame follows.
func (e *Engine) Finish() {
	e.assembler.CloseAll(e.last, reassembly.CloseEndOfCapture)
	e.publish()
}

func (e *Engine) publish() {
	s := Snapshot{
		Frames: e.frames, Bytes: e.bytes, Truncated: e.truncated, Last: e.last,
		Outcomes: e.outcomes, Protocols: e.protocols,
		Reassembly: e.assembler.Stats(), HTTP1: e.http, Exchange: e.recorder.Stats(),
	}
	e.mu.Lock()
	e.snapshot = s
	e.mu.Unlock()
}

// Snapshot returns the counters as of the last pause of the source, or of at
// most a few thousand frames ago.
func (e *Engine) Snapshot() Snapshot {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.snapshot
}
