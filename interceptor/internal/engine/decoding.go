package engine

import (
	"capstan/pkg/capture"
	"capstan/pkg/defrag"
	"capstan/pkg/packet"
)

// decoding is where the segments of frames are found.
type decoding struct {
	decoder *packet.Decoder
	defrag  *defrag.Defragmenter
	segment packet.Segment // of the frame decoded last
	// What was found, in frames and in datagrams put together from fragments.
	outcomes, datagrams [packet.NumOutcomes]uint64
}

func newDecoding(cfg *Config) decoding {
	return decoding{decoder: packet.NewDecoder(cfg.Decode), defrag: defrag.New(cfg.Defrag)}
}

// decode looks what a frame holds: d.segment, if it is OutcomeTCP.
func (d *decoding) decode(f *capture.Frame) packet.Outcome {
	outcome := d.decoder.Decode(f, &d.segment)
	d.outcomes[outcome]++
	return outcome
}

// join goes on with a fragment that was decoded and came at the time now of the
// clock. It reports whether the datagram that it completes holds d.segment. That
// may hold another fragment, of a packet inside of a tunnel.
func (d *decoding) join(now int64) bool {
	for {
		g := d.defrag.Fragment(&d.decoder.Fragment, now)
		if g == nil {
			return false
		}
		outcome := d.decoder.DecodeDatagram(g, &d.segment)
		d.datagrams[outcome]++
		if outcome != packet.OutcomeFragment {
			return outcome == packet.OutcomeTCP
		}
	}
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
