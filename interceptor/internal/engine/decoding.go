package engine

import (
	"capstan/pkg/capture"
	"capstan/pkg/defrag"
	"capstan/pkg/packet"
)

// decoding is where segments are found: those of frames, and those of datagrams that
// came in fragments.
type decoding struct {
	decoder *packet.Decoder
	defrag  *defrag.Defragmenter
	segment packet.Segment // that was found last
	// What was found, in frames and in datagrams put together from fragments.
	outcomes, datagrams [packet.NumOutcomes]uint64
}

func newDecoding(cfg *Config) decoding {
	return decoding{decoder: packet.NewDecoder(cfg.Decode), defrag: defrag.New(cfg.Defrag)}
}

// decode looks what a frame holds, that came at the time now of the clock. It returns
// the segment in it, or in the datagram that it completes; nil if there is none.
func (d *decoding) decode(f *capture.Frame, now int64) *packet.Segment {
	outcome := d.decoder.Decode(f, &d.segment)
	d.outcomes[outcome]++
	if outcome == packet.OutcomeTCP || outcome == packet.OutcomeFragment && d.join(&d.decoder.Fragment, now) {
		return &d.segment
	}
	return nil
}

// join goes on with a fragment that came at the time now of the clock. It reports
// whether the datagram that it completes holds d.segment. That may hold another
// fragment, of a packet inside of a tunnel.
func (d *decoding) join(f *packet.Fragment, now int64) bool {
	for {
		g := d.defrag.Fragment(f, now)
		if g == nil {
			return false
		}
		outcome := d.decoder.DecodeDatagram(g, &d.segment)
		d.datagrams[outcome]++
		if outcome != packet.OutcomeFragment {
			return outcome == packet.OutcomeTCP
		}
		f = &d.decoder.Fragment
	}
}

// joinAll finds the segments of the datagrams that are completed in a round, the chunks
// of which are decoded. Rounds come in their order.
func (d *decoding) joinAll(r *round) {
	events := r.events
	for i := range r.chunks {
		fragments := r.chunks[i].fragments
		for k := range fragments {
			f := &fragments[k]
			events = upTo(f.frame, events, d.happen)
			if d.join(&f.piece, f.whole.now) {
				f.whole.Segment, f.shard = d.segment, shardOf(&d.segment, len(r.shares))
				f.whole.Payload = r.copy(d.segment.Payload)
			}
		}
	}
	upTo(len(r.frames), events, d.happen)
	d.forget()
}

// happen does what an event means for fragments that wait for others.
func (d *decoding) happen(x *event) {
	if x.close {
		d.defrag.Flush()
	} else {
		d.defrag.Advance(x.at.Now)
	}
}

// forget lets go of the data of frames.
func (d *decoding) forget() { d.segment.Payload, d.decoder.Fragment.Payload = nil, nil }

func (d *decoding) counters() Decoded {
	return Decoded{Outcomes: d.outcomes, Datagrams: d.datagrams, Decode: d.decoder.Stats(), Defrag: d.defrag.Stats()}
}
