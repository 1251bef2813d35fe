package engine

import (
	"sync"
	"time"

	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/l7/http1"
	"capstan/interceptor/internal/l7/http2"
	"capstan/pkg/capture"
	"capstan/pkg/defrag"
	"capstan/pkg/packet"
	"capstan/pkg/reassembly"
)

// Config configures an Engine. The zero value of each part has its own
// package's defaults.
type Config struct {
	Decode     packet.Config
	Defrag     defrag.Config
	Reassembly reassembly.Config
	HTTP1      http1.Config
	HTTP2      http2.Config
	Exchange   exchange.Config // Emit is called from the goroutine that feeds the engine
}

// Engine is the way of a frame to its exchange for one source. Frame, Idle,
// SourceLost and Finish belong to one goroutine; Snapshot to any.
type Engine struct {
	// Immutable.
	cfg Config

	// Owned by the goroutine that feeds the engine.
	decoder   *packet.Decoder
	segment   packet.Segment // reused for every frame
	defrag    *defrag.Defragmenter
	assembler *reassembly.Assembler
	recorder  *exchange.Recorder
	http1     http1.Stats
	http2     http2.Shared
	frames    uint64
	bytes     uint64
	truncated uint64
	outcomes  [packet.NumOutcomes]uint64
	datagrams [packet.NumOutcomes]uint64
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
	// Datagrams are the packets put together from fragments, by what was found
	// in them.
	Datagrams [packet.NumOutcomes]uint64
	Protocols [NumProtocols]ProtocolStats

	Decode     packet.Stats
	Defrag     defrag.Stats
	Reassembly reassembly.Stats
	HTTP1      http1.Stats
	HTTP2      http2.Stats
	Exchange   exchange.Stats
}

// publishEvery is how many frames may pass between two snapshots when a source
// never pauses.
const publishEvery = 4096

// New returns an Engine that hands each exchange to cfg.Exchange.Emit.
func New(cfg Config) *Engine {
	e := &Engine{recorder: exchange.NewRecorder(cfg.Exchange), decoder: packet.NewDecoder(cfg.Decode), defrag: defrag.New(cfg.Defrag)}
	cfg.HTTP1.Stats, cfg.HTTP2.Shared = &e.http1, &e.http2
	e.cfg = cfg
	e.assembler = reassembly.New(cfg.Reassembly, e.newConnection)
	return e
}

// Frame takes the next frame. It keeps nothing of f.
// Next: packet.Decoder.Decode, then reassembly.Assembler.Segment.
func (e *Engine) Frame(f *capture.Frame) {
	e.frames++
	e.bytes += uint64(len(f.Data))
	if f.Truncated() {
		e.truncated++
	}
	outcome := e.decoder.Decode(f, &e.segment)
	e.outcomes[outcome]++
	e.last = max(e.last, f.Timestamp)
	switch outcome {
	case packet.OutcomeTCP:
		e.assembler.Segment(&e.segment, f.Timestamp)
	case packet.OutcomeFragment:
		e.fragment(f.Timestamp)
	default:
		e.assembler.Advance(f.Timestamp)
	}
	if e.frames%publishEvery == 0 {
		e.publish()
	}
}

// fragment takes the fragment that the decoder has found. The datagram that it
// completes may hold another one, of a packet inside of a tunnel.
func (e *Engine) fragment(time int64) {
	for outcome := packet.OutcomeFragment; outcome == packet.OutcomeFragment; {
		g := e.defrag.Fragment(&e.decoder.Fragment, time)
		if g == nil {
			e.assembler.Advance(time)
			return
		}
		outcome = e.decoder.DecodeDatagram(g, &e.segment)
		e.datagrams[outcome]++
		if outcome == packet.OutcomeTCP {
			e.assembler.Segment(&e.segment, time)
		}
	}
}

// Drained tells that no further frame is waiting.
func (e *Engine) Drained() { e.publish() }

// Idle tells that a live source has had no frame for the duration d, so that
// timeouts, which run on the frames' time, pass on a silent host too.
func (e *Engine) Idle(d time.Duration) {
	if e.last != 0 {
		e.assembler.Advance(e.last + int64(d))
		e.defrag.Advance(e.last + int64(d))
	}
	e.publish()
}

// SourceLost tells that frames went by unseen from here on for an unknown
// time. Every connection ends; what comes after it of the same connections is
// judged as joined midstream, so that no response is given to a request whose
// own response passed meanwhile.
func (e *Engine) SourceLost() {
	e.defrag.Flush()
	e.assembler.CloseAll(e.last, reassembly.CloseSourceLost)
	e.publish()
}

// Finish tells that no frame follows.
func (e *Engine) Finish() {
	e.defrag.Flush()
	e.assembler.CloseAll(e.last, reassembly.CloseEndOfCapture)
	e.publish()
}

func (e *Engine) publish() {
	s := Snapshot{
		Frames: e.frames, Bytes: e.bytes, Truncated: e.truncated, Last: e.last,
		Outcomes: e.outcomes, Datagrams: e.datagrams, Protocols: e.protocols,
		Decode: e.decoder.Stats(), Defrag: e.defrag.Stats(),
		Reassembly: e.assembler.Stats(), HTTP1: e.http1, HTTP2: e.http2.Stats, Exchange: e.recorder.Stats(),
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
