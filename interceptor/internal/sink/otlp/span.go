package otlp

import (
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	tracepb "go.opentelemetry.io/proto/slim/otlp/trace/v1"

	capstanv1 "capstan/proto/capstan/v1"
)

// maxText bounds a text attribute, in bytes: receivers bound messages.
const maxText = 4096

// span turns a record into a span.
func (b *batch) span(v *view) *tracepb.Span {
	s, x := b.spans.next(), v.Exchange
	s.Kind = tracepb.Span_SPAN_KIND_SERVER
	s.StartTimeUnixNano = x.GetStartTimeUnixNs()
	s.EndTimeUnixNano = x.GetStartTimeUnixNs() + uint64(max(x.GetDurationNs(), 0))
	s.Name, s.Attributes, s.Status = name(x), v.attributes, spanStatus(x)
	id := b.ids.next()
	*id = sha256.Sum256([]byte(x.GetId()))
	s.TraceId, s.SpanId = id[:16:16], id[16:24:24]
	s.ParentSpanId, s.Flags, s.TraceState = nil, 0, ""
	if parent, ok := parentOf(x.GetRequest().GetHeaders()); ok {
		s.TraceId, s.ParentSpanId, s.Flags, s.TraceState = parent.trace, parent.span, uint32(parent.flags)|remoteParent, parent.state
	}
	if x.GetRequest() == nil && x.GetResponse() == nil {
		s.Kind = tracepb.Span_SPAN_KIND_INTERNAL // a connection: nobody was asked anything
	}
	return s
}

// remoteParent says that it is known whether the parent is remote, and it is
// (SpanFlags of trace.proto).
const remoteParent = 0x300

// parent is what a traceparent says.
type parent struct {
	trace, span []byte
	flags       byte
	state       string
}

// parentOf reads traceparent and tracestate (W3C Trace Context §3).
func parentOf(headers []*capstanv1.Header) (p parent, ok bool) {
	var text string
	for _, h := range headers {
		switch {
		case strings.EqualFold(h.Name, "traceparent"):
			if ok {
				return p, false // two of them are none (§3.2)
			}
			text, ok = h.Value, true
		case strings.EqualFold(h.Name, "tracestate"):
			if p.state != "" {
				p.state += ","
			}
			p.state += h.Value
		}
	}
	if !ok || !p.parse(text) {
		return p, false
	}
	if len(p.state) > 512 {
		p.state = "" // more than has to be passed on (§3.3.1.5)
	}
	return p, true
}

// parse takes a traceparent: version "-" trace-id "-" parent-id "-" trace-flags, more in
// later versions.
func (p *parent) parse(text string) (ok bool) {
	if len(text) < 55 || text[2] != '-' || text[35] != '-' || text[52] != '-' || strings.ToLower(text) != text {
		return false
	}
	version, err0 := hex.DecodeString(text[:2])
	trace, err1 := hex.DecodeString(text[3:35])
	span, err2 := hex.DecodeString(text[36:52])
	flags, err3 := hex.DecodeString(text[53:55])
	if err0 != nil || err1 != nil || err2 != nil || err3 != nil || version[0] == 0xff || isZero(trace) || isZero(span) {
		return false
	}
	if len(text) > 55 && (version[0] == 0 || text[55] != '-') {
		return false
	}
	p.trace, p.span, p.flags = trace, span, flags[0]
	return true
}

func isZero(b []byte) bool { return !slices.ContainsFunc(b, func(c byte) bool { return c != 0 }) }

// methods are those that the conventions know; others are _OTHER.
var methods = []string{"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"}

func method(x *capstanv1.Exchange) string {
	m := x.GetRequest().GetMethod()
	if m != "" && !slices.Contains(methods, m) {
		return "_OTHER"
	}
	return m
}

// name is of few values: the path is none.
func name(x *capstanv1.Exchange) string {
	if g := x.GetGrpc(); g != nil {
		return g.GetService() + "/" + g.GetMethod()
	}
	if m := method(x); m == "_OTHER" {
		return "HTTP"
	} else if m != "" {
		return m
	}
	return strings.TrimPrefix(x.GetProtocol().String(), "PROTOCOL_")
}

func spanStatus(x *capstanv1.Exchange) *tracepb.Status {
	if errorType(x) == "" {
		return nil
	}
	return &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR, Message: clean(x.GetGrpc().GetStatusMessage())}
}

// clean makes text of what anybody may have sent: bounded, and UTF-8, as
// protobuf demands.
func clean(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// others adds the attributes of spans besides the common ones.
func (l list) others(x *capstanv1.Exchange) {
	if q := x.GetRequest(); q != nil {
		if m := method(x); m == "_OTHER" {
			l.text("http.request.method_original", q.GetMethod())
		}
		path, query := split(q.GetTarget())
		l.text("url.path", path)
		l.text("url.query", redact(query))
		l.text("user_agent.original", header(q.GetHeaders(), "User-Agent"))
		l.number("http.request.body.size", int64(q.GetBody().GetSize()))
	}
	if p := x.GetResponse(); p != nil {
		l.number("http.response.body.size", int64(p.GetBody().GetSize()))
	}
	l.text("client.address", client(x).GetAddress())
	l.number("client.port", int64(client(x).GetPort()))
	l.text("network.peer.address", x.GetClient().GetAddress())
	l.number("network.peer.port", int64(x.GetClient().GetPort()))
	l.text("network.local.address", x.GetServer().GetAddress())
	l.number("network.local.port", int64(x.GetServer().GetPort()))
	l.text("tls.client.server_name", x.GetTls().GetServerName())
	l.text("capstan.record.id", x.GetId())
	l.text("capstan.source", x.GetSource())
	l.flag("capstan.complete", x.GetComplete())
	var flaws []string
	for _, f := range x.GetFlaws() {
		flaws = append(flaws, strings.ToLower(strings.TrimPrefix(f.String(), "FLAW_")))
	}
	l.text("capstan.flaws", strings.Join(flaws, ","))
}

// client is who asked: whom a proxy says that it speaks for, if it does, which may be
// another proxy that says so of itself.
func client(x *capstanv1.Exchange) *capstanv1.Endpoint {
	for _, p := range slices.Backward(x.GetProxiedFurther()) {
		if s := p.GetSource(); s != nil {
			return s
		}
	}
	if s := x.GetProxied().GetSource(); s != nil {
		return s
	}
	return x.GetClient()
}

// common adds the attributes of spans and of histograms: those of few values.
func (l list) common(x *capstanv1.Exchange) {
	l.text("http.request.method", method(x))
	if s := x.GetResponse().GetStatus(); s != 0 {
		l.number("http.response.status_code", int64(s))
	}
	l.text("url.scheme", scheme(x))
	l.text("network.transport", "tcp")
	protocol, version := protocolOf(x)
	l.text("network.protocol.name", protocol)
	l.text("network.protocol.version", version)
	host, port := server(x)
	l.text("server.address", host)
	l.number("server.port", port)
	l.text("error.type", errorType(x))
	if g := x.GetGrpc(); g != nil {
		l.text("rpc.system", "grpc")
		l.text("rpc.service", g.GetService())
		l.text("rpc.method", g.GetMethod())
		if g.GetStatusKnown() {
			l.number("rpc.grpc.status_code", int64(g.GetStatus()))
		}
	}
}

func scheme(x *capstanv1.Exchange) string {
	q := x.GetRequest()
	switch {
	case q == nil:
		return ""
	case q.GetScheme() != "":
		return q.GetScheme()
	}
	return "http" // what can be read is not encrypted
}

func protocolOf(x *capstanv1.Exchange) (name, version string) {
	text := x.GetRequest().GetVersion()
	if text == "" {
		text = x.GetResponse().GetVersion()
	}
	if _, version, ok := strings.Cut(text, "/"); ok {
		return "http", version
	}
	return strings.ToLower(strings.TrimPrefix(x.GetProtocol().String(), "PROTOCOL_")), ""
}

// server is who was asked: by name where that is known.
func server(x *capstanv1.Exchange) (host string, port int64) {
	host, port = x.GetServer().GetAddress(), int64(x.GetServer().GetPort())
	if target := x.GetSocks().GetTarget(); target != "" {
		if h, p, err := net.SplitHostPort(target); err == nil {
			host = h
			port, _ = strconv.ParseInt(p, 10, 64) // the digits of 16 bits
		}
	}
	if u, err := url.Parse("//" + x.GetRequest().GetAuthority()); err == nil && u.Hostname() != "" {
		host = u.Hostname()
	}
	return host, port
}

// errorType is empty unless the server failed: a client's mistake is none of a
// server's span.
func errorType(x *capstanv1.Exchange) string {
	if g := x.GetGrpc(); g.GetStatusKnown() {
		switch g.GetStatus() { // those of a server, by the conventions for gRPC
		case 2, 4, 12, 13, 14, 15:
			return grpcCodes[g.GetStatus()]
		}
	}
	switch s := x.GetResponse().GetStatus(); {
	case s >= 500:
		return statusText(s)
	case slices.Contains(x.GetFlaws(), capstanv1.Flaw_FLAW_RESET):
		return "stream_reset"
	}
	return ""
}

var grpcCodes = map[uint32]string{2: "UNKNOWN", 4: "DEADLINE_EXCEEDED", 12: "UNIMPLEMENTED", 13: "INTERNAL", 14: "UNAVAILABLE", 15: "DATA_LOSS"}

func statusText(s uint32) string {
	return string([]byte{byte('0' + s/100%10), byte('0' + s/10%10), byte('0' + s%10)})
}

func header(headers []*capstanv1.Header, name string) string {
	for _, h := range headers {
		if strings.EqualFold(h.Name, name) {
			return h.Value
		}
	}
	return ""
}

// split returns path and query of a request target.
func split(target string) (path, query string) {
	before, query, _ := strings.Cut(target, "?")
	if i := strings.Index(before, "://"); i >= 0 && !strings.HasPrefix(before, "/") { // absolute
		_, rest, _ := strings.Cut(before[i+3:], "/")
		before = "/" + rest
	}
	return before, query
}

// redact says REDACTED, as the conventions want it, where a value was masked.
func redact(query string) string {
	if !strings.Contains(query, masked) {
		return query
	}
	parts := strings.Split(query, "&")
	for i, p := range parts {
		if key, value, _ := strings.Cut(p, "="); value == masked {
			parts[i] = key + "=REDACTED"
		}
	}
	return strings.Join(parts, "&")
}

// masked stands in records for what was masked.
const masked = "***"
