package http2

import (
	"encoding/base64"
	"strings"

	"capstan/interceptor/internal/l7/hpack"
	capstanv1 "capstan/proto/capstan/v1"
)

// upgraded gives the stream a request that came over HTTP/1.
func (c *Conn) upgraded(s *stream, q *capstanv1.HttpRequest) {
	c.noteBlock(&c.half[c.client], s.id)
	s.request = side{seen: true, headers: true, ended: true, first: int64(q.GetFirstByteUnixNs()), last: int64(q.GetLastByteUnixNs())}
	s.req.Method, s.req.Target, s.req.Authority, s.req.Version = q.GetMethod(), q.GetTarget(), q.GetAuthority(), q.GetVersion()
	// Copied, since the exchange of HTTP/1 is a record of its own.
	s.req.Headers, s.req.Trailers = s.copied(q.GetHeaders()), s.copied(q.GetTrailers())
	body := q.GetBody()
	s.reqBody.Size, s.reqBody.GapBytes, s.reqBody.Content = body.GetSize(), body.GetGapBytes(), c.shared.buffers.append(nil, body.GetContent(), 0)
	c.shared.Stats.HeldContent += len(s.reqBody.Content)
}

func (s *stream) copied(from []*capstanv1.Header) []*capstanv1.Header {
	if len(from) == 0 {
		return nil
	}
	to := s.room.take(len(from))
	for i, f := range from {
		t := to[i]
		t.Name, t.Value, t.NameUnknown, t.ValueUnknown = f.GetName(), f.GetValue(), false, false
	}
	return to
}

// text returns s, a part of f, as a record holds it.
func text(f *hpack.Field, s string) string {
	if f.UTF8 {
		return s
	}
	return clean(s)
}

// value returns that of f as a record holds it. Metadata of gRPC that was sent as it is is in
// base64, as everybody else sends it, unless it has what is masked, which would not be found.
func (c *Conn) value(f *hpack.Field) string {
	if !f.Binary() {
		return text(f, f.Value)
	}
	sent := f.Value[1:]
	if c.shared.screen.Passes(f.Name, sent) {
		return base64.RawStdEncoding.EncodeToString([]byte(sent))
	}
	return clean(sent)
}

// clean makes s valid UTF-8, as protobuf strings must be: each run of bad bytes
// becomes one U+FFFD.
func clean(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// screened returns the number of the screen, if all fields of a header section pass it, else 0.
func (c *Conn) screened(fields []hpack.Field) uint16 {
	by := c.shared.screen
	for i := range fields {
		f := &fields[i]
		if f.Binary() || !f.Passed && (f.NameUnknown || f.ValueUnknown || !f.UTF8 || !by.Passes(f.Name, f.Value)) {
			return 0
		}
	}
	return c.shared.scratch.Screens()
}

// fields turns fields into those of a record.
func (c *Conn) fields(s *stream, from []hpack.Field) []*capstanv1.Header {
	if len(from) == 0 {
		return nil
	}
	to := s.room.take(len(from))
	cost := fieldCost * min(len(from), max(s.room.taken-firstFields, 0))
	for i := range from {
		f, t := &from[i], to[i]
		t.Name, t.Value = text(f, f.Name), c.value(f)
		t.NameUnknown, t.ValueUnknown = f.NameUnknown, f.ValueUnknown
		cost += len(t.Name) + len(t.Value)
	}
	c.addCost(s, cost)
	return to
}

// fieldRoom is memory for the header fields of a record.
type fieldRoom struct {
	fields []*capstanv1.Header
	used   int // of fields
	taken  int // in all
}

// take returns n fields, in which anything may stand. Those taken before stay
// as they are.
func (r *fieldRoom) take(n int) []*capstanv1.Header {
	if len(r.fields)-r.used < n {
		more := make([]capstanv1.Header, max(n, 2*len(r.fields)))
		r.fields, r.used = make([]*capstanv1.Header, len(more)), 0
		for i := range more {
			r.fields[i] = &more[i]
		}
	}
	from := r.used
	r.used += n
	r.taken += n
	return r.fields[from:r.used:r.used]
}
