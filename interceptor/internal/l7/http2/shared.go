package http2

import (
	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/l7/grpc"
	"capstan/interceptor/internal/l7/hpack"
	capstanv1 "capstan/proto/capstan/v1"
)

// Shared is what the connections of one goroutine share: counters, and memory
// that no connection needs for long. The zero value is ready.
type Shared struct {
	Stats Stats

	scratch hpack.Scratch
	behind  [maxRecalled]uint32
	fields  []hpack.Field // of the block in hand
	chase   chase
	screen  *exchange.Screen // by which the tables' entries are marked

	// To be used again.
	streams []*stream
	calls   []*grpc.Call
	buffers buffers
}

const (
	// maxFree bounds each kind of things that are kept for reuse.
	maxFree = 256
	// keepFields bounds the header fields that a stream keeps room for.
	keepFields = 64
)

// look makes header sections be judged by that screen from now on.
func (s *Shared) look(by *exchange.Screen) {
	if by != s.screen {
		s.screen = by
		s.scratch.Screen(by.Passes)
	}
}

// passed returns the screen that is number n, if it is that which holds.
func (s *Shared) passed(n uint16) *exchange.Screen {
	if n == s.scratch.Screens() {
		return s.screen
	}
	return nil
}

// Release lets go of memory that is only kept for reuse.
func (s *Shared) Release() {
	s.streams, s.calls, s.buffers, s.fields, s.chase = nil, nil, buffers{}, nil, chase{}
}

// stream returns one that nothing is known of.
func (s *Shared) stream() *stream {
	n := len(s.streams)
	if n == 0 {
		return newStream()
	}
	x := s.streams[n-1]
	s.streams = s.streams[:n-1]
	return x
}

// newStream allocates a stream together with room for the header fields that
// small messages have.
func newStream() *stream {
	var x struct {
		stream
		fields [firstFields]capstanv1.Header
		list   [firstFields]*capstanv1.Header
	}
	for i := range x.fields {
		x.list[i] = &x.fields[i]
	}
	x.room = fieldRoom{fields: x.list[:]}
	return &x.stream
}

// recycle takes back x, whose record has left, and with it the memory of its
// parts.
func (s *Shared) recycle(x *stream) {
	s.buffers.give(x.reqBody.Content)
	s.buffers.give(x.respBody.Content)
	s.dropCall(x)
	if len(s.streams) == maxFree || len(x.room.fields) > keepFields {
		return
	}
	fields, flaws, interim := x.room.fields, x.rec.Flaws[:0], x.resp.InterimStatuses[:0]
	*x = stream{room: fieldRoom{fields: fields}}
	x.rec.Flaws, x.resp.InterimStatuses = flaws, interim
	s.streams = append(s.streams, x)
}

// dropCall makes x no call of gRPC.
func (s *Shared) dropCall(x *stream) {
	if x.call != nil && len(s.calls) < maxFree {
		x.call.Reset()
		s.calls = append(s.calls, x.call)
	}
	x.call = nil
}

// call returns one that nothing is known of.
func (s *Shared) call() *grpc.Call {
	n := len(s.calls)
	if n == 0 {
		return new(grpc.Call)
	}
	c := s.calls[n-1]
	s.calls = s.calls[:n-1]
	return c
}
