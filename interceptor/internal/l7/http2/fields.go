package http2

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"capstan/interceptor/internal/l7/hpack"
	capstanv1 "capstan/proto/capstan/v1"
)

// upgraded gives the stream a request that came over HTTP/1.
func (c *Conn) upgraded(s *stream, q *capstanv1.HttpRequest) {
	s.request = side{seen: true, headers: true, ended: true, first: int64(q.GetFirstByteUnixNs()), last: int64(q.GetLastByteUnixNs())}
	s.req.Method, s.req.Target, s.req.Authority, s.req.Version = q.GetMethod(), q.GetTarget(), q.GetAuthority(), q.GetVersion()
	// Copied, since the exchange of HTTP/1 is a record of its own.
	s.req.Headers, s.req.Trailers = c.copied(q.GetHeaders()), c.copied(q.GetTrailers())
	body := q.GetBody()
	s.reqBody.Size, s.reqBody.GapBytes, s.reqBody.Content = body.GetSize(), body.GetGapBytes(), bytes.Clone(body.GetContent())
}

func (c *Conn) copied(from []*capstanv1.Header) []*capstanv1.Header {
	if len(from) == 0 {
		return nil
	}
	to := c.shared.room(len(from))
	for i, f := range from {
		to[i].Name, to[i].Value = f.GetName(), f.GetValue()
	}
	return to
}

// text returns the value as a record holds it.
func (p *pseudo) text() string { return clean(p.value) }

// clean makes s valid UTF-8, as protobuf strings must be: each run of bad bytes
// becomes one U+FFFD.
func clean(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// fields turns fields into those of a record.
func (c *Conn) fields(s *stream, from []hpack.Field) []*capstanv1.Header {
	if len(from) == 0 {
		return nil
	}
	to := c.shared.room(len(from))
	cost := 0
	for i := range from {
		f, t := &from[i], to[i]
		t.Name, t.Value = clean(f.Name), clean(f.Value)
		t.NameUnknown, t.ValueUnknown = f.NameUnknown, f.ValueUnknown
		cost += fieldCost + len(f.Name) + len(f.Value)
	}
	c.addCost(s, cost)
	return to
}
