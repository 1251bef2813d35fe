package engine

import (
	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/l7/http1"
	"capstan/interceptor/internal/l7/http2"
	"capstan/interceptor/internal/l7/tls"
	"capstan/interceptor/internal/l7/websocket"
	"capstan/interceptor/internal/memory"
	"capstan/pkg/defrag"
	"capstan/pkg/packet"
	"capstan/pkg/reassembly"
)

// shard has some of the connections, or all of them. It belongs to one
// goroutine.
type shard struct {
	cfg       Config
	assembler *reassembly.Assembler
	fragments *defrag.Defragmenter // of the same goroutine; nil: another's
	recorder  *exchange.Recorder
	http1     *http1.Shared
	http2     http2.Shared
	websocket websocket.Shared
	protocols [NumProtocols]ProtocolStats
	undecided UndecidedStats
	tls       tls.Stats
	polls     uint64
	pollMask  uint64         // of polls: 0 when the memory is looked at
	memory    *memory.Holder // nil: nobody asks for it

	// To be used again.
	connections spare[connection]
	https       spare[httpConnection]
}

// pollEvery is after how many segments the memory in use is looked at, a power of two:
// often enough that what they bring meanwhile is little, and cost them nothing. One
// segment can bring more than 8 KiB. Under a cap that leaves a shard less than
// memoryPerSegment for each, it is looked at more often.
const (
	pollEvery        = 128
	memoryPerSegment = 256 << 10
)

// heedEvery is after how many it is looked at what others have found: all shards shed
// before any takes much more.
const heedEvery = 8

// newShard returns a shard. Fragments are those that are put together by its goroutine, or
// nil.
func newShard(cfg Config, fragments *defrag.Defragmenter) *shard {
	s := &shard{recorder: exchange.NewRecorder(cfg.Exchange), fragments: fragments}
	cfg.HTTP2.Shared, cfg.WebSocket.Shared = &s.http2, &s.websocket
	cfg.HTTP2.WebSocket = cfg.WebSocket
	s.cfg = cfg
	s.pollMask = pollMask(&cfg)
	s.http1 = http1.NewShared(cfg.HTTP1, s.recorder, s)
	s.assembler = reassembly.New(cfg.Reassembly, s.handler)
	if cfg.Memory != nil {
		s.memory = cfg.Memory.Join(s.shed, s.size)
	}
	return s
}

// pollMask returns one less than how many segments come between two looks at the memory.
func pollMask(cfg *Config) uint64 {
	every := uint64(pollEvery)
	for cfg.Memory != nil && every > heedEvery && every*memoryPerSegment*uint64(max(cfg.Shards, 1)*max(cfg.Engines, 1)) > cfg.Memory.Limit()/4 {
		every /= 2
	}
	return every - 1
}

// segment takes a segment.
// Next: reassembly.Assembler.SegmentAt.
func (s *shard) segment(p *packet.Segment, time int64, at reassembly.Instant) {
	s.assembler.SegmentAt(p, time, at)
	s.poll()
}

// poll looks at the memory now and then. Whatever may have brought some calls it: segments,
// and fragments.
func (s *shard) poll() {
	if s.polls++; s.polls%heedEvery == 0 {
		s.heed()
	}
}

// heed sheds what has to be by now. pollMask is one less than a multiple of heedEvery.
func (s *shard) heed() {
	if s.memory != nil && (s.polls&s.pollMask == 0 || s.memory.Called()) {
		s.memory.Relieve()
	}
}

// happen does what an event means.
func (s *shard) happen(x *event) {
	if x.close {
		s.assembler.CloseAll(x.time, x.reason)
	} else {
		s.assembler.AdvanceTo(x.at)
	}
}

// shed gives memory back.
func (s *shard) shed(step memory.Step) {
	s.recorder.Release()
	s.release()
	if s.fragments != nil {
		s.fragments.Shed()
	}
	s.assembler.Shed(step.Of())
}

// connectionLen is what a connection takes about of which nothing waits.
const connectionLen = 512

// size returns about how many bytes there are to shed.
func (s *shard) size() int {
	a := s.assembler.Stats()
	n := a.Active*connectionLen + a.Charge + s.undecided.Held + s.websocket.Stats.Held
	n += s.http1.Stats.Charge + s.http1.Stats.HeldHeads
	return n + s.http2.Stats.Charge + s.http2.Stats.HeldBlocks + s.http2.Stats.HeldTables
}

// rest tells that nothing comes until the next segment.
func (s *shard) rest() {
	if s.memory == nil {
		return
	}
	s.memory.Relieve()
	for step := memory.Easily; step < memory.All && s.memory.Called(); step++ {
		s.memory.Relieve()
	}
	s.away()
}

// away tells that the next segment may be long in coming.
func (s *shard) away() {
	if s.assembler.Stats().Active > 0 {
		s.memory.Away()
	} else {
		s.memory.Leave()
	}
}

// release lets go of memory that is only kept for reuse.
func (s *shard) release() {
	s.connections, s.https = nil, nil
	s.http1.Release()
	s.http2.Release()
	s.websocket.Release()
}

func (s *shard) counters() Counters {
	return Counters{Protocols: s.protocols, Reassembly: s.assembler.Stats(), HTTP1: s.http1.Stats, HTTP2: s.http2.Stats,
		WebSocket: s.websocket.Stats, Undecided: s.undecided, TLS: s.tls, Exchange: s.recorder.Stats()}
}
