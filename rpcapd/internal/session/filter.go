package session

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/net/bpf"

	"capstan/pkg/rpcap"
	"capstan/pkg/sockfilter"
	"capstan/rpcapd/internal/audit"
	"capstan/rpcapd/internal/pump"
)

// filterText is the reference's answer to an invalid program; a valid one that
// this server can't run is told what it is about.
func filterText(err error) string {
	if unsupported := (*sockfilter.UnsupportedError)(nil); errors.As(err, &unsupported) {
		return fmt.Sprintf("The filter contains a load that is not supported by this server: %s", unsupported.Load)
	}
	return "The filter contains invalid instructions"
}

// A session may put filters in force this often; a client that wants more of
// it waits. The kernel verifies each program, one at a time for the whole
// daemon, so that an unbounded client would keep all others waiting.
const (
	filterLoadsPerSecond = 20
	filterLoadsBurst     = 20
)

// awaitFilterLoad waits until the session may load a filter. False means that
// the daemon stops meanwhile.
func (s *Session) awaitFilterLoad() bool {
	delay := s.loads.Reserve().Delay()
	if delay > 0 {
		s.counters.FiltersDelayed.Add(1)
	}
	return s.pause(delay)
}

// pause waits for a while. False means that the daemon stops meanwhile.
func (s *Session) pause(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.ctx.Done():
		return false
	}
}

// updateFilter answers UPDATEFILTER_REQ, or returns nil if the daemon stops.
// After a failure the old filter stays.
func (s *Session) updateFilter(h rpcap.Header, body []byte) rpcap.Message {
	var m rpcap.UpdateFilterRequest
	if err := rpcap.Decode(h, body, &m); err != nil {
		return &rpcap.Error{Code: rpcap.CodeUpdateFilter, Text: decodeText(err)}
	}
	program, err := compile(s.capture.restriction, m.Filter)
	if err != nil {
		return &rpcap.Error{Code: rpcap.CodeUpdateFilter, Text: filterText(err)}
	}
	if !s.awaitFilterLoad() {
		return nil
	}
	inKernel, err := s.capture.pump.SetFilter(program)
	if err != nil {
		return &rpcap.Error{Code: rpcap.CodeUpdateFilter, Text: err.Error()}
	}
	s.filterLoaded(s.capture.pump, inKernel)
	s.filtered = len(m.Filter) > 1
	s.record(audit.Event{Kind: audit.KindFilter, Device: s.capture.text, Filter: audit.FilterText(m.Filter)})
	return &rpcap.UpdateFilterReply{}
}

// filterLoaded counts a filter in force. The first one of a capture that isn't
// the kernel's alone is logged.
func (s *Session) filterLoaded(p *pump.Pump, inKernel bool) {
	if inKernel {
		s.counters.FilterLoads.Add(1)
		return
	}
	s.counters.FilterFallbacks.Add(1)
	if !s.toldWhy {
		s.toldWhy = true
		s.log.Info("the client's filter runs in user space", "device", s.text, "reason", p.WhyUserSpace())
	}
}

// compile makes a program of the client's filter, behind the restriction of
// its rights.
func compile(restriction []bpf.RawInstruction, filter []rpcap.Instruction) (*sockfilter.Program, error) {
	raw := make([]bpf.RawInstruction, len(filter))
	for i, insn := range filter {
		raw[i] = bpf.RawInstruction(insn)
	}
	if restriction != nil {
		var err error
		if raw, err = sockfilter.And(restriction, raw); err != nil {
			return nil, err
		}
	}
	return sockfilter.Compile(raw)
}
