// Package exchangetest keeps records for tests.
package exchangetest

import (
	"google.golang.org/protobuf/proto"

	capstanv1 "capstan/proto/capstan/v1"
)

// Keep returns an Emit that appends a copy of each record to *records. It then
// spoils what was emitted, since the record is valid during the call only:
// whoever refers to its memory afterwards shows in what comes later.
func Keep(records *[]*capstanv1.Exchange) func(*capstanv1.Exchange) {
	return func(x *capstanv1.Exchange) {
		*records = append(*records, proto.CloneOf(x))
		Spoil(x)
	}
}

// Spoil overwrites what is of x alone: connections share their endpoints.
func Spoil(x *capstanv1.Exchange) {
	if q := x.Request; q != nil {
		spoilMessage(q.Headers, q.Trailers, q.Body)
		q.Method, q.Target, q.Authority, q.Version = spoilt, spoilt, spoilt, spoilt
	}
	if s := x.Response; s != nil {
		spoilMessage(s.Headers, s.Trailers, s.Body)
		s.Reason, s.Version, s.Status = spoilt, spoilt, 999
		for i := range s.InterimStatuses {
			s.InterimStatuses[i] = 999
		}
	}
	for _, m := range x.GetWebsocket().GetMessages() {
		spoilBytes(m.Content)
		m.Opcode, m.Size = 99, 999
	}
	x.Id, x.Protocol, x.StreamId = spoilt, 99, 999
	for i := range x.Flaws {
		x.Flaws[i] = 99
	}
}

const spoilt = "spoilt"

func spoilMessage(headers, trailers []*capstanv1.Header, b *capstanv1.Body) {
	for _, fields := range [...][]*capstanv1.Header{headers, trailers} {
		for _, h := range fields {
			h.Name, h.Value = spoilt, spoilt
		}
	}
	if b != nil {
		spoilBytes(b.Content)
		spoilBytes(b.Decoded)
		b.Size, b.GapBytes = 999, 999
	}
}

func spoilBytes(b []byte) {
	for i := range b {
		b[i] = 0xEE
	}
}
