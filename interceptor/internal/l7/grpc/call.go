package grpc

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	capstanv1 "capstan/proto/capstan/v1"
)

// Kind is how a body carries messages.
type Kind uint8

// The kinds of bodies.
const (
	None    Kind = iota // no messages of gRPC
	Plain               // gRPC
	Web                 // gRPC-Web
	WebText             // gRPC-Web in base64
)

// KindOf tells the kind from a content type: application/grpc,
// application/grpc-web or application/grpc-web-text, maybe with the format of
// the messages behind a plus sign and with parameters.
func KindOf(contentType string) Kind {
	const grpc = "application/grpc"
	// Nearly all others differ in that letter, if not in length.
	if len(contentType) < len(grpc) || contentType[len("application/")]|0x20 != 'g' || !strings.EqualFold(contentType[:len(grpc)], grpc) {
		return None
	}
	rest := contentType[len(grpc):]
	if i := strings.IndexAny(rest, "+; "); i >= 0 {
		rest = rest[:i]
	}
	switch {
	case rest == "":
		return Plain
	case strings.EqualFold(rest, "-web"):
		return Web
	case strings.EqualFold(rest, "-web-text"):
		return WebText
	}
	return None
}

// Call is one call. It is made when the first of its content types is seen, or [Call.Likely].
type Call struct {
	rec               capstanv1.Grpc
	Request, Response Messages
	// Likely tells that no content type said so yet: its user looks at what its messages are.
	Likely bool
}

// Reset makes c a call of which nothing is known, with the memory that it has.
// Its record is not one any more.
func (c *Call) Reset() {
	c.rec, c.Likely = capstanv1.Grpc{}, false
	c.Request.reset()
	c.Response.reset()
}

// SetRequest tells the kind of the request's body.
func (c *Call) SetRequest(k Kind) {
	c.Request.init(k)
	c.rec.Web = c.rec.Web || k == Web || k == WebText
}

// SetResponse tells the kind of the response's body.
func (c *Call) SetResponse(k Kind) {
	c.Response.init(k)
	c.rec.Web = c.rec.Web || k == Web || k == WebText
}

// Kind returns the kind of the request's body.
func (c *Call) Kind() Kind { return c.Request.kind }

// AnyKind returns the kind of the request's body, or that of the response's if it has none.
func (c *Call) AnyKind() Kind {
	if c.Request.kind == None {
		return c.Response.kind
	}
	return c.Request.kind
}

// Plain reports whether a content type said that it is a call of gRPC, not of gRPC-Web.
func (c *Call) Plain() bool {
	return !c.Likely && (c.Request.kind == Plain || c.Response.kind == Plain)
}

// SetPath takes the request's path: /service/method.
func (c *Call) SetPath(path string) {
	path, _, _ = strings.Cut(path, "?")
	if i := strings.LastIndexByte(path, '/'); i > 0 {
		c.rec.Service, c.rec.Method = strings.TrimPrefix(path[:i], "/"), path[i+1:]
	}
}

// RequestField takes a header field of the request; others than those of gRPC
// do nothing.
func (c *Call) RequestField(name, value string) {
	switch {
	case !maybeOwn(name):
	case strings.EqualFold(name, "grpc-timeout"):
		c.rec.TimeoutNs = int64(parseTimeout(value))
	case strings.EqualFold(name, "grpc-encoding"):
		c.rec.RequestEncoding = value
	}
}

// ResponseField takes a header or trailer field of the response.
func (c *Call) ResponseField(name, value string) {
	switch {
	case !maybeOwn(name):
	case strings.EqualFold(name, "grpc-encoding"):
		c.rec.ResponseEncoding = value
	case strings.EqualFold(name, "grpc-status"):
		if n, err := strconv.ParseUint(value, 10, 32); err == nil {
			c.rec.Status, c.rec.StatusKnown = uint32(n), true
		}
	case strings.EqualFold(name, "grpc-message"):
		c.rec.StatusMessage = strings.ToValidUTF8(percentDecode(value), "\uFFFD")
	}
}

// maybeOwn reports whether name may be a field of gRPC's own, which most are not.
func maybeOwn(name string) bool {
	const prefixLen = len("grpc-")
	return len(name) > prefixLen && name[prefixLen-1] == '-'
}

// Undo undoes the coding of that name as far as it can. whole and all tell whether
// encoded and decoded are all that there was, and is.
type Undo func(encoded []byte, whole bool, coding string) (decoded []byte, all bool)

// WebTrailers calls yield with each field of the trailers that gRPC-Web has in
// the body of the response, and takes them itself. name and value are UTF-8. Some
// servers compress them as they do messages, which is what undo is for. A line that
// may go on where nothing was seen is none.
func (c *Call) WebTrailers(undo Undo, yield func(name, value string)) {
	m := &c.Response
	trailer, whole := m.trailer, m.trailersWhole()
	if m.packed && len(trailer) > 0 {
		trailer, whole = undo(trailer, whole, c.rec.ResponseEncoding)
	}
	if !whole {
		trailer = trailer[:bytes.LastIndexByte(trailer, '\n')+1]
	}
	if len(trailer) == 0 {
		return
	}
	text := strings.ToValidUTF8(string(trailer), "\uFFFD")
	for line := range strings.SplitSeq(text, "\n") {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\r"), ":")
		if !ok || name == "" {
			continue
		}
		value = strings.Trim(value, " \t")
		c.ResponseField(name, value)
		yield(name, value)
	}
}

// Record ends the call and returns its record, which is part of c.
func (c *Call) Record() *capstanv1.Grpc { return c.RecordWith(c) }

// RecordWith is Record for a call whose response was followed by another Call.
func (c *Call) RecordWith(response *Call) *capstanv1.Grpc {
	c.Request.end()
	response.Response.end()
	r, s := &c.rec, &response.rec
	r.Web = r.Web || s.Web
	r.Status, r.StatusKnown, r.StatusMessage, r.ResponseEncoding = s.Status, s.StatusKnown, s.StatusMessage, s.ResponseEncoding
	r.RequestMessages, r.ResponseMessages = &c.Request.rec, &response.Response.rec
	return r
}

// maxTimeoutDigits is how many digits a timeout may have.
const maxTimeoutDigits = 8

// parseTimeout returns the duration of grpc-timeout, such as 100m for 100
// milliseconds, or 0 if it is malformed.
func parseTimeout(s string) time.Duration {
	if len(s) < 2 || len(s) > maxTimeoutDigits+1 {
		return 0
	}
	n, err := strconv.ParseUint(s[:len(s)-1], 10, 32)
	if err != nil {
		return 0
	}
	d := time.Duration(n)
	switch s[len(s)-1] {
	case 'H':
		return min(d, maxHours) * time.Hour
	case 'M':
		return d * time.Minute
	case 'S':
		return d * time.Second
	case 'm':
		return d * time.Millisecond
	case 'u':
		return d * time.Microsecond
	case 'n':
		return d
	}
	return 0
}

// maxHours is as many as a Duration can hold.
const maxHours = time.Duration(1<<63-1) / time.Hour

// percentDecode replaces each %XX by its byte. What is no such sequence stays,
// as the specification asks for.
func percentDecode(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b = append(b, byte(n))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}
