package exchange

import (
	"capstan/pkg/flow"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// Tally counts what a connection carries, for a record of it. The zero value is
// ready.
type Tally struct {
	sent        [2]sent
	started     bool
	first, last int64
}

// sent is what one direction carried.
type sent struct{ bytes, segments, gapBytes uint64 }

// Data counts the next bytes of direction d.
func (t *Tally) Data(d flow.Direction, c *reassembly.Chunk) { t.Part(d, c, true) }

// Part counts the next bytes of direction d; ends tells whether no more of their
// segment follow.
func (t *Tally) Part(d flow.Direction, c *reassembly.Chunk, ends bool) {
	t.sent[d].bytes += uint64(len(c.Bytes))
	if ends {
		t.sent[d].segments++
	}
	t.at(c.Time)
}

// Gap counts bytes of direction d that were not captured.
func (t *Tally) Gap(d flow.Direction, g *reassembly.Gap) {
	t.sent[d].gapBytes += uint64(g.Len)
	t.at(g.Time)
}

func (t *Tally) at(time int64) {
	if !t.started {
		t.started, t.first, t.last = true, time, time
	}
	t.first, t.last = min(t.first, time), max(t.last, time)
}

// Over tells that the connection was over at that time: where it carried nothing, its
// record has no other.
func (t *Tally) Over(time int64) {
	if !t.started {
		t.at(time)
	}
}

// Bytes returns the bytes that direction d carried.
func (t *Tally) Bytes(d flow.Direction) uint64 { return t.sent[d].bytes }

// Record returns the record of connection conn, which is over: times, flaws,
// Connection. It is complete if nothing of it was missed. The caller adds
// what else is known.
func (t *Tally) Record(p capstanv1.Protocol, conn *reassembly.Conn, client flow.Direction, r reassembly.CloseReason) *capstanv1.Exchange {
	var flaws Flaws
	if t.sent[0].gapBytes+t.sent[1].gapBytes > 0 {
		flaws.Add(capstanv1.Flaw_FLAW_GAP)
	}
	if f := CloseFlaw(r); f != capstanv1.Flaw_FLAW_CLOSED_EARLY {
		flaws.Add(f)
	}
	traffic := func(d flow.Direction) *capstanv1.Traffic {
		return &capstanv1.Traffic{Bytes: t.sent[d].bytes, Segments: t.sent[d].segments, GapBytes: t.sent[d].gapBytes}
	}
	return &capstanv1.Exchange{
		Protocol: p, StartTimeUnixNs: uint64(t.first), DurationNs: t.last - t.first,
		Complete: flaws == 0 && !conn.Midstream, Flaws: flaws.Append(nil),
		Connection: &capstanv1.Connection{
			Client: traffic(client), Server: traffic(client.Reverse()), Close: CloseOf(r), Midstream: conn.Midstream,
		},
	}
}
