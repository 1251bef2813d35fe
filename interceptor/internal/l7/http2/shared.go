package http2

import (
	"capstan/interceptor/internal/l7/hpack"
	capstanv1 "capstan/proto/capstan/v1"
)

// Shared is what the connections of one goroutine share: counters, and memory
// that no connection needs for long. The zero value is ready.
type Shared struct {
	Stats Stats

	scratch hpack.Scratch
	fields  []hpack.Field // of the block in hand
	headers []capstanv1.Header
	slots   []*capstanv1.Header
}

// Header fields of records are allocated together: a record that is kept keeps
// its neighbours' fields too, but those are few.
const (
	headersAtOnce = 64
	slotsAtOnce   = 256
)

// room returns n new header fields.
func (s *Shared) room(n int) []*capstanv1.Header {
	if n > headersAtOnce/2 {
		headers, slots := make([]capstanv1.Header, n), make([]*capstanv1.Header, n)
		for i := range headers {
			slots[i] = &headers[i]
		}
		return slots
	}
	if len(s.headers) < n {
		s.headers = make([]capstanv1.Header, headersAtOnce)
	}
	if len(s.slots) < n {
		s.slots = make([]*capstanv1.Header, slotsAtOnce)
	}
	slots := s.slots[:n:n]
	s.slots = s.slots[n:]
	for i := range slots {
		slots[i] = &s.headers[i]
	}
	s.headers = s.headers[n:]
	return slots
}
