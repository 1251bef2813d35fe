package api

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"capstan/interceptor/internal/delivery"
	"capstan/interceptor/internal/engine"
	"capstan/interceptor/internal/ledger"
	"capstan/interceptor/internal/memory"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// status gathers the answer to GetStatus.
func (s *service) status() *capstanv1.GetStatusResponse {
	ledgers, out, watched := s.backend.Ledgers(), s.backend.Output(), s.hub.Stats()
	answer := &capstanv1.GetStatusResponse{
		Version: s.version, StartTime: timestamppb.New(s.start),
		Exchanges: watched.Records, Watchers: uint32(watched.Watchers),
		MemoryBytes: memory.InUse(), MemoryLimitBytes: s.backend.MemoryLimit,
	}
	for i := range ledgers {
		l := &ledgers[i]
		answer.Sources = append(answer.Sources, s.sourceStatus(l))
		answer.WaitingBytes += uint64(l.Engine.Reassembly.QueuedBytes)
		if p := answer.Sources[i].GetProblem(); p != "" {
			answer.Problems = append(answer.Problems, l.Name+": "+p)
		}
	}
	for i := range out.Sinks {
		answer.Sinks = append(answer.Sinks, sinkStatus(&out.Sinks[i]))
		if out.Sinks[i].Failing {
			answer.Problems = append(answer.Problems, "sink "+out.Sinks[i].Name+": "+utf8Text(out.Sinks[i].Problem))
		}
	}
	answer.Ready = len(answer.Problems) == 0
	return answer
}

func (s *service) sourceStatus(l *ledger.Ledger) *capstanv1.SourceStatus {
	c := &l.Source
	m := &capstanv1.SourceStatus{
		Name: l.Name, Capturing: c.Connected && !c.Silent, CapturingSince: timestamp(c.Since),
		Frames: l.Engine.Frames, Bytes: l.Engine.Bytes,
		LostFrames:  c.ServerDropped + c.ServerInterfaceDropped + c.Missing,
		Connections: map[string]uint64{}, UnreadBytes: unread(&l.Engine),
	}
	switch {
	case c.Silent:
		m.Problem = "the capture server doesn't answer"
	case !c.Connected && c.Problem == "":
		m.Problem = "not started yet"
	case !c.Connected:
		m.Problem = utf8Text(c.Problem)
	}
	for p, n := range l.Engine.Protocols {
		if n.Active > 0 {
			m.Connections[engine.Protocol(p).String()] = n.Active
		}
	}
	if src := s.backend.Sources()[l.Name]; src != nil {
		m.Settings = toMessage(src.Settings())
	}
	return m
}

// unread tells the payload that no exchange was made of, by why.
func unread(e *engine.Snapshot) map[string]uint64 {
	m := map[string]uint64{
		"encrypted":      e.Protocols[engine.TLS].Bytes,
		"unknown":        e.Protocols[engine.Unknown].Bytes,
		"undecided":      e.Protocols[engine.Undecided].Bytes,
		"never captured": e.Reassembly.GapBytes,
	}
	for reason, n := range e.Reassembly.DroppedBytes {
		m["dropped: "+reassembly.DropReason(reason).String()] = n
	}
	for _, key := range sortedKeys(m) {
		if m[key] == 0 {
			delete(m, key)
		}
	}
	return m
}

func sinkStatus(s *delivery.SinkStats) *capstanv1.SinkStatus {
	return &capstanv1.SinkStatus{
		Name: s.Name, Kind: s.Kind, Policy: s.Policy.String(), Failing: s.Failing, Problem: utf8Text(s.Problem), Accepted: s.Accepted, Recovered: s.Recovered, Delivered: s.Delivered, Dropped: s.Dropped + s.Shed,
		Rejected: s.Rejected, SpoolFull: s.SpoolFull, SpoolLost: s.SpoolLost, Queued: s.Queued, Spooled: s.Spooled,
		SpoolBytes: uint64(s.SpoolBytes), Retries: s.Retries, QueueLimit: uint64(s.MaxRecords), QueuedBytes: uint64(s.QueuedBytes),
		QueueLimitBytes: uint64(s.MaxBytes), SpoolLimitBytes: uint64(s.MaxSpoolBytes),
	}
}

// timestamp is nil for no time.
func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// accounts is the answer to GetLedger.
func accounts(ledgers []ledger.Ledger, out ledger.Output) *capstanv1.GetLedgerResponse {
	answer := &capstanv1.GetLedgerResponse{Balanced: true}
	for i := range ledgers {
		l := &ledgers[i]
		a := &capstanv1.Account{Name: l.Name}
		for _, e := range l.Entries() {
			a.Entries = append(a.Entries, &capstanv1.Entry{Key: e.Key, Text: e.Text, Value: e.Value, Unit: e.Unit, Level: uint32(e.Level)})
		}
		for _, o := range l.Source.Outages {
			a.Outages = append(a.Outages, &capstanv1.Outage{Start: timestamp(o.From), End: timestamp(o.To), Reason: utf8Text(o.Reason)})
		}
		for _, bad := range l.Check() {
			a.Imbalances = append(a.Imbalances, imbalance(bad))
		}
		answer.Accounts = append(answer.Accounts, a)
	}
	answer.Accounts = append(answer.Accounts, outputAccount(ledgers, out))
	for _, a := range answer.Accounts {
		answer.Balanced = answer.Balanced && len(a.Imbalances) == 0
	}
	return answer
}

func imbalance(bad ledger.Imbalance) string {
	return fmt.Sprintf("%s: %d ≠ %d", bad.Equation, bad.Left, bad.Right)
}

// outputAccount tells what became of the records.
func outputAccount(ledgers []ledger.Ledger, out ledger.Output) *capstanv1.Account {
	a := &capstanv1.Account{Name: "output"}
	add := func(key, text string, n uint64, level uint32) {
		a.Entries = append(a.Entries, &capstanv1.Entry{Key: key, Text: text, Value: n, Unit: "records", Level: level})
	}
	add("records.passed", "records handed on", out.Passed, 0)
	add("records.own", "left out: of the sinks' own connections", out.Own, 0)
	add("records.denied", "left out by rules", out.Denied, 0)
	add("bodies.omitted", "bodies left out because of their types", out.BodiesOmitted, 0)
	for _, bad := range out.Check(ledgers) {
		a.Imbalances = append(a.Imbalances, imbalance(bad))
	}
	add("stdout.written", "records written to standard output", out.Emitted, 0)
	add("stdout.failed", "could not be written", out.Failed, 1)
	for i := range out.Sinks {
		s := &out.Sinks[i]
		add(s.Name+".accepted", "records for the sink "+s.Name, s.Accepted, 0)
		add(s.Name+".recovered", "found in its spool at the start", s.Recovered, 1)
		add(s.Name+".delivered", "delivered", s.Delivered, 1)
		add(s.Name+".dropped", "dropped", s.Dropped, 1)
		add(s.Name+".shed", "dropped for lack of memory", s.Shed, 1)
		add(s.Name+".rejected", "rejected", s.Rejected, 1)
		add(s.Name+".spool_full", "dropped since the spool was full", s.SpoolFull, 1)
		add(s.Name+".spool_lost", "lost in a damaged spool", s.SpoolLost, 1)
		add(s.Name+".queued", "waiting in memory", s.Queued, 1)
		add(s.Name+".spooled", "waiting on disk", s.Spooled, 1)
		if !s.Balanced() {
			a.Imbalances = append(a.Imbalances, fmt.Sprintf("sink %s: %+v", s.Name, s.Stats))
		}
	}
	return a
}
