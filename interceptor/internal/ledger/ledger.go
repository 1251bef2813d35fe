// Package ledger gathers the counters of an interceptor's rooms into one
// account: every frame and every payload byte ends in exactly one line of it.
package ledger

import (
	"capstan/interceptor/internal/delivery"
	"capstan/interceptor/internal/engine"
	"capstan/interceptor/internal/source"
	"capstan/pkg/packet"
)

// Ledger is the account of one source: what its server captured, what arrived,
// what became of it.
type Ledger struct {
	Name   string
	Live   bool                   // whether Source means anything
	Source source.CounterSnapshot // zero for a file
	Engine engine.Snapshot
}

// Output counts what left the interceptor.
type Output struct {
	Emitted uint64 // records written
	Failed  uint64 // records that could not be written
	Bytes   uint64
	Sinks   []Sink
}

// Sink is what became of the records that one sink was to take.
type Sink struct {
	Name string
	delivery.Stats
}

// Imbalance is an equation of the account that does not hold.
type Imbalance struct {
	Equation    string
	Left, Right uint64
}

// Check returns the equations that don't hold. They are exact after a source
// has ended; while frames flow, the counters are of different moments.
func (l *Ledger) Check() []Imbalance {
	e := &l.Engine
	var bad []Imbalance
	check := func(equation string, left, right uint64) {
		if left != right {
			bad = append(bad, Imbalance{equation, left, right})
		}
	}
	if l.Live {
		check("frames arrived = frames decoded", l.Source.Frames, e.Frames)
	}
	r := &e.Reassembly
	var outcomes, byProtocol, closed uint64
	for _, n := range e.Outcomes {
		outcomes += n
	}
	for _, p := range e.Protocols {
		byProtocol += p.Bytes
	}
	for _, n := range e.Reassembly.Closed {
		closed += n
	}
	check("frames decoded = sum of outcomes", e.Frames, outcomes)
	var datagrams uint64
	for _, n := range e.Datagrams {
		datagrams += n
	}
	d := &e.Defrag
	check("fragments found = fragments taken", e.Outcomes[packet.OutcomeFragment]+e.Datagrams[packet.OutcomeFragment], d.Fragments)
	check("fragments = put together + waiting + dropped", d.Fragments, d.Joined+uint64(d.Waiting)+d.DroppedFragments())
	check("datagrams put together = sum of outcomes", d.Datagrams, datagrams)
	check("TCP found = segments", e.Outcomes[packet.OutcomeTCP]+e.Datagrams[packet.OutcomeTCP], r.Segments)
	check("payload = in order + repeated + captured again + waiting + dropped", r.PayloadBytes,
		r.DeliveredBytes+r.DuplicateBytes+r.CopyBytes+uint64(r.QueuedBytes)+r.Dropped())
	check("bytes in order = sum over protocols", r.DeliveredBytes, byProtocol)
	check("connections = open + closed", r.Opened, uint64(r.Active)+closed)
	return bad
}
