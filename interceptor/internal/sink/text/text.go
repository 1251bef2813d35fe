// Package text writes records for people: one line per exchange.
package text

import (
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	capstanv1 "capstan/proto/capstan/v1"
)

// Encoder writes lines of the form
//
//	15:04:05.000 10.0.0.2:4711 → 10.0.0.1:8080 GET http://shop/cart?id=1 200 0 B/1.2 KiB 3.4ms
//
// time, client, server, method, URL, status, sizes of the request's and the
// response's body, duration; then, in parentheses, what the exchange lacks. Behind a
// client that is a proxy stands whom it says it speaks for, as (for 192.0.2.7:51237), and
// behind a server that is a SOCKS proxy whom it was asked for, as (to shop:80). A
// half that was not seen is a dash, and so is what is unknown of one. Behind the
// status of a gRPC call stands its own, as grpc=0. The line of a connection has
// its protocol, what is known of it, and how it ended in place of method, URL and
// status. What could drive a terminal is escaped.
type Encoder struct {
	Color    bool           // ANSI colours by method and status
	Location *time.Location // of the time; nil means local
	// Columns makes lines for screens that cut them: what one looks for comes
	// first, see appendColumns.
	Columns bool
}

// ANSI colours (ECMA-48 SGR).
const (
	reset  = "\x1b[0m"
	dim    = "\x1b[2m"
	bold   = "\x1b[1m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	cyan   = "\x1b[36m"
)

// Append appends the line of x, newline included, to dst.
func (e Encoder) Append(dst []byte, x *capstanv1.Exchange) []byte {
	loc := e.Location
	if loc == nil {
		loc = time.Local
	}
	dst = e.on(dst, dim)
	dst = appendClock(dst, time.Unix(0, int64(x.GetStartTimeUnixNs())).In(loc))
	dst = e.off(dst)
	if e.Columns {
		return e.appendColumns(append(dst, ' '), x)
	}
	dst = appendEnds(append(dst, ' '), x)
	if x.GetConnection() != nil {
		dst = e.appendConnection(append(dst, ' '), x)
	} else {
		dst = e.appendExchange(dst, x)
	}
	dst = append(dst, ' ')
	dst = append(dst, roundDuration(time.Duration(x.GetDurationNs())).String()...)
	return append(e.appendFlaws(dst, x.GetFlaws()), '\n')
}

// appendClock appends the time of day as 15:04:05.000.
func appendClock(dst []byte, t time.Time) []byte {
	hour, minute, second := t.Clock()
	ms := t.Nanosecond() / 1e6
	return append(dst, byte('0'+hour/10), byte('0'+hour%10), ':', byte('0'+minute/10), byte('0'+minute%10), ':',
		byte('0'+second/10), byte('0'+second%10), '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
}

// appendExchange appends what both halves say.
func (e Encoder) appendExchange(dst []byte, x *capstanv1.Exchange) []byte {
	dst = e.appendRequest(append(dst, ' '), x.GetRequest())
	dst = e.appendStatus(append(dst, ' '), x.GetResponse())
	if g := x.GetGrpc(); g.GetStatusKnown() {
		dst = strconv.AppendUint(append(dst, " grpc="...), uint64(g.GetStatus()), 10)
	}
	dst = append(dst, ' ')
	return appendSizes(dst, x)
}

func appendSizes(dst []byte, x *capstanv1.Exchange) []byte {
	dst = appendSize(dst, x.GetRequest() != nil, x.GetRequest().GetBody().GetSize())
	dst = append(dst, '/')
	return appendSize(dst, x.GetResponse() != nil, x.GetResponse().GetBody().GetSize())
}

func (e Encoder) on(dst []byte, color string) []byte {
	if e.Color {
		dst = append(dst, color...)
	}
	return dst
}

func (e Encoder) off(dst []byte) []byte { return e.on(dst, reset) }

func (e Encoder) appendRequest(dst []byte, q *capstanv1.HttpRequest) []byte {
	if q == nil {
		return append(dst, "– –"...)
	}
	dst = e.on(dst, bold)
	dst = appendSafe(dst, orDash(q.GetMethod()))
	dst = append(e.off(dst), ' ')
	if isOrigin(q) {
		dst = appendSafe(append(appendSafe(dst, scheme(q)), "://"...), q.GetAuthority())
	}
	return appendSafe(dst, orDash(q.GetTarget()))
}

// URL puts together the URL that q asks for: what there is of it, as it was sent.
func URL(q *capstanv1.HttpRequest) string {
	if isOrigin(q) {
		return scheme(q) + "://" + q.GetAuthority() + q.GetTarget()
	}
	return q.GetTarget()
}

// isOrigin reports whether the target has the origin form (RFC 9112 §3.2.1), which needs
// the authority to make a URL.
func isOrigin(q *capstanv1.HttpRequest) bool {
	return strings.HasPrefix(q.GetTarget(), "/") && q.GetAuthority() != "" && q.GetMethod() != "CONNECT"
}

// Safe escapes what isn't plainly printable, so that s can be shown on a terminal.
func Safe(s string) string { return string(appendSafe(nil, s)) }

// scheme is http unless the request says otherwise: it was not encrypted.
func scheme(q *capstanv1.HttpRequest) string {
	if s := q.GetScheme(); s != "" {
		return s
	}
	return "http"
}

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

func (e Encoder) appendStatus(dst []byte, p *capstanv1.HttpResponse) []byte {
	if p.GetStatus() == 0 {
		return append(dst, "–"...)
	}
	color := green
	switch s := p.GetStatus(); {
	case s >= 500:
		color = red
	case s >= 400:
		color = yellow
	case s >= 300 || s < 200:
		color = cyan
	}
	dst = e.on(dst, color)
	dst = strconv.AppendUint(dst, uint64(p.GetStatus()), 10)
	return e.off(dst)
}

var flawWords = map[capstanv1.Flaw]string{
	capstanv1.Flaw_FLAW_GAP:             "bytes missing",
	capstanv1.Flaw_FLAW_NO_REQUEST:      "request not seen",
	capstanv1.Flaw_FLAW_NO_RESPONSE:     "response not seen",
	capstanv1.Flaw_FLAW_CLOSED_EARLY:    "connection closed early",
	capstanv1.Flaw_FLAW_CAPTURE_ENDED:   "capture ended",
	capstanv1.Flaw_FLAW_TIMEOUT:         "timed out",
	capstanv1.Flaw_FLAW_EVICTED:         "evicted",
	capstanv1.Flaw_FLAW_HEADERS_CUT:     "headers cut",
	capstanv1.Flaw_FLAW_MALFORMED:       "malformed",
	capstanv1.Flaw_FLAW_HEADERS_UNKNOWN: "headers unknown",
	capstanv1.Flaw_FLAW_RESET:           "reset",
	capstanv1.Flaw_FLAW_CONFLICT:        "differing copies of bytes",
	capstanv1.Flaw_FLAW_PLACE_GUESSED:   "place guessed",
}

func (e Encoder) appendFlaws(dst []byte, flaws []capstanv1.Flaw) []byte {
	if len(flaws) == 0 {
		return dst
	}
	dst = e.on(append(dst, ' '), yellow)
	for i, f := range flaws {
		sep := ", "
		if i == 0 {
			sep = "("
		}
		dst = append(append(dst, sep...), flawWords[f]...)
	}
	return e.off(append(dst, ')'))
}

func appendEnds(dst []byte, x *capstanv1.Exchange) []byte {
	dst = appendEndpoint(dst, x.GetClient())
	dst = appendFor(dst, x.GetProxied())
	for _, p := range x.GetProxiedFurther() {
		dst = appendFor(dst, p)
	}
	return appendTo(appendEndpoint(append(dst, " → "...), x.GetServer()), x.GetSocks())
}

// appendTo tells whom SOCKS proxies were asked for, the first proxy first.
func appendTo(dst []byte, s *capstanv1.Socks) []byte {
	if s == nil {
		return dst
	}
	dst = appendTo(dst, s.GetOuter())
	if s.GetTarget() == "" {
		return dst
	}
	return append(appendSafe(append(dst, " (to "...), s.GetTarget()), ')')
}

// appendFor tells for whom a proxy says that it speaks.
func appendFor(dst []byte, p *capstanv1.Proxied) []byte {
	if p.GetSource() == nil {
		return dst
	}
	return append(appendEndpoint(append(dst, " (for "...), p.GetSource()), ')')
}

func appendEndpoint(dst []byte, ep *capstanv1.Endpoint) []byte {
	v6 := strings.Contains(ep.GetAddress(), ":")
	if v6 {
		dst = append(dst, '[')
	}
	dst = append(dst, ep.GetAddress()...)
	if v6 {
		dst = append(dst, ']')
	}
	return strconv.AppendUint(append(dst, ':'), uint64(ep.GetPort()), 10)
}

// appendSize writes a number of bytes in binary units.
func appendSize(dst []byte, seen bool, n uint64) []byte {
	if !seen {
		return append(dst, "–"...)
	}
	if n < 1024 {
		return append(strconv.AppendUint(dst, n, 10), " B"...)
	}
	f, unit := float64(n)/1024, 0
	for ; f >= 1024 && unit < 5; unit++ {
		f /= 1024
	}
	dst = strconv.AppendFloat(dst, f, 'f', 1, 64)
	return append(dst, ' ', "KMGTPE"[unit], 'i', 'B')
}

// roundDuration keeps three or four digits.
func roundDuration(d time.Duration) time.Duration {
	for unit := time.Microsecond; unit <= time.Second; unit *= 1000 {
		if d < 1000*unit {
			return d.Round(unit / 100)
		}
	}
	return d.Round(time.Second)
}

// appendSafe appends s with everything escaped that isn't plainly printable:
// what was captured must not be able to move a cursor, hide text or turn it
// around.
func appendSafe(dst []byte, s string) []byte {
	for {
		n := plainLen(s)
		dst = append(dst, s[:n]...)
		if n == len(s) {
			return dst
		}
		r, size := utf8.DecodeRuneInString(s[n:])
		switch c := s[n]; {
		case r == utf8.RuneError && size == 1:
			dst = append(dst, '\\', 'x', "0123456789abcdef"[c>>4], "0123456789abcdef"[c&0xf])
		case r == '\\' || !unicode.IsPrint(r): // so is what turns text around
			quoted := strconv.QuoteRuneToASCII(r)
			dst = append(dst, quoted[1:len(quoted)-1]...)
		default:
			dst = append(dst, s[n:n+size]...)
		}
		s = s[n+size:]
	}
}

// plainLen returns how many bytes s starts with that are printable ASCII and nothing
// to escape: mostly all.
func plainLen(s string) int {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '\\' {
			return i
		}
	}
	return len(s)
}
