package engine

import (
	"reflect"
	"time"

	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/l7/http1"
	"capstan/interceptor/internal/l7/http2"
	"capstan/interceptor/internal/l7/tls"
	"capstan/interceptor/internal/l7/websocket"
	"capstan/pkg/defrag"
	"capstan/pkg/packet"
	"capstan/pkg/reassembly"
)

// ProtocolStats counts the connections of one protocol that carried payload.
type ProtocolStats struct {
	Connections uint64 // ever
	Active      uint64 // now
	// Bytes of payload, in order, counted under the protocol known when they
	// came, or by them: under Undecided are those that told too little.
	Bytes uint64
}

// Snapshot is a consistent copy of an engine's counters.
type Snapshot struct {
	Frames    uint64 // handed to Frame
	Bytes     uint64 // of those frames, as captured
	Truncated uint64 // frames cut by a snap length
	Last      int64  // time of the latest frame, nanoseconds since the epoch
	Counters
}

// Handover tells of the frames that are on their way to several shards.
type Handover struct {
	Held    int           // bytes of the buffers that they are in, now
	Blocked time.Duration // that the source has waited, since they were as many as may be
}

// Handover returns that of this moment; zero with one shard. Any goroutine may ask.
func (e *Engine) Handover() Handover {
	if e.rounds == nil {
		return Handover{}
	}
	return e.rounds.handover()
}

// Counters are those of a shard, or the sums over all shards.
type Counters struct {
	Decoded
	Protocols  [NumProtocols]ProtocolStats
	Reassembly reassembly.Stats
	HTTP1      http1.Stats
	HTTP2      http2.Stats
	WebSocket  websocket.Stats
	Undecided  UndecidedStats
	TLS        tls.Stats
	Exchange   exchange.Stats
}

// UndecidedStats counts what is held of connections of which it is not known yet what they
// carry.
type UndecidedStats struct {
	Cuts uint64 // connections given up as unknown, since too much was held
	Held int    // bytes, now
}

// Decoded counts what was found in frames.
type Decoded struct {
	Outcomes [packet.NumOutcomes]uint64
	// Datagrams are the packets put together from fragments, by what was found
	// in them.
	Datagrams [packet.NumOutcomes]uint64
	Decode    packet.Stats
	Defrag    defrag.Stats
}

// add counts what was found in a chunk.
func (d *Decoded) add(c *chunk) {
	for i, n := range c.outcomes {
		d.Outcomes[i] += n
	}
	d.Decode.Add(c.decoder.Stats())
}

// front are the counters of what comes before the shards.
type front struct {
	frames, bytes, truncated uint64
	last                     int64 // the latest frame's time
	decoded                  Decoded
}

// published are counters of one moment.
type published struct {
	front  front
	shards []Counters
}

// publish makes the counters of one moment those that Snapshot returns.
func (e *Engine) publish(f front, shards ...Counters) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.snapshot.front = f
	e.snapshot.shards = append(e.snapshot.shards[:0], shards...)
}

// Snapshot returns the counters as of the last pause of the source, or of at
// most a few thousand frames ago.
func (e *Engine) Snapshot() Snapshot {
	e.mu.Lock()
	defer e.mu.Unlock()
	f := &e.snapshot.front
	s := Snapshot{Frames: f.frames, Bytes: f.bytes, Truncated: f.truncated, Last: f.last}
	s.Decoded = f.decoded
	for i := range e.snapshot.shards {
		sum(reflect.ValueOf(&s.Counters).Elem(), reflect.ValueOf(&e.snapshot.shards[i]).Elem())
	}
	return s
}

// sum adds every number in from to that in to. It goes by reflection so that a
// counter added to any room can't be forgotten here.
func sum(to, from reflect.Value) {
	switch to.Kind() {
	case reflect.Uint64:
		to.SetUint(to.Uint() + from.Uint())
	case reflect.Int:
		to.SetInt(to.Int() + from.Int())
	case reflect.Struct:
		for i := range to.NumField() {
			sum(to.Field(i), from.Field(i))
		}
	case reflect.Array:
		for i := range to.Len() {
			sum(to.Index(i), from.Index(i))
		}
	default:
		panic("engine: no counter can be a " + to.Type().String())
	}
}
