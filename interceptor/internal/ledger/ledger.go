// Package ledger gathers the counters of an interceptor's rooms into one
// account: every frame and every payload byte ends in exactly one line of it.
package ledger

import (
	"capstan/interceptor/internal/clients"
	"capstan/interceptor/internal/delivery"
	"capstan/interceptor/internal/engine"
	"capstan/interceptor/internal/source"
	"capstan/interceptor/internal/watch"
	"capstan/pkg/packet"
)

// Ledger is the account of one source: what its server captured, what arrived,
// what became of it.
type Ledger struct {
	Name   string
	Live   bool                   // whether Source means anything
	Source source.CounterSnapshot // zero for a file
	Engine engine.Snapshot
	// Handover is of the frames on their way to the engine's shards.
	Handover engine.Handover
}

// Output counts what left the interceptor.
type Output struct {
	// Of the records made, each is in one of these.
	Passed uint64 // to all sinks, and to standard output if that is wanted
	Own    uint64 // seen on connections of the interceptor's own sinks
	Denied uint64 // by rules

	Emitted uint64 // records written to standard output
	Failed  uint64 // records that could not be
	Bytes   uint64

	BodiesOmitted uint64 // because of their types
	Sinks         []delivery.SinkStats
	Watch         watch.Stats   // zero if there is no API
	API, Metrics  clients.Stats // who is connected to ask
}

// Check returns the equations that don't hold, of the output and of ledgers,
// which are those of all sources. They are exact after all have ended.
func (o *Output) Check(ledgers []Ledger) []Imbalance {
	var made uint64
	for i := range ledgers {
		made += ledgers[i].Engine.Exchange.Total()
	}
	if out := o.Passed + o.Own + o.Denied; out != made {
		return []Imbalance{{"records made = passed + own + denied", made, out}}
	}
	return nil
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
