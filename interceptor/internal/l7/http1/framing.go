package http1

import (
	"math"
	"strings"

	"capstan/interceptor/internal/l7/grpc"
)

// framing collects what the fields of one message say about its length.
type framing struct {
	lengthSeen bool
	lengthBad  bool // not a number, too large, or two that differ
	length     int64

	coded      bool // Transfer-Encoding is there
	chunked    bool // chunked is the last coding
	oddCoding  bool // the last one is none that there is
	close      bool // Connection: close
	keepAlive  bool // Connection: keep-alive
	malformed  bool
	cutTooLong bool // a framing field longer than what is looked at

	upgrade bool // Upgrade is there
	host    bool // Host is there
	hosts   bool // more than once: who is asked depends on who reads it (RFC 9112 §3.2)

	messages grpc.Kind // what Content-Type says the body holds
}

// bodyKind is how the end of a body is told.
type bodyKind uint8

const (
	bodyNone bodyKind = iota
	bodyLength
	bodyChunked
	bodyUntilClose
	bodyUnknown // the message contradicts itself
)

// fieldKind is what a field says about the length of its message, or about what has to agree.
type fieldKind uint8

const (
	kindOther fieldKind = iota // nothing
	kindContentLength
	kindTransferEncoding
	kindContentType
	kindUpgrade
	kindConnection
	kindHost
)

// kindOf returns the kind of a field of that name.
func kindOf(name string) fieldKind {
	switch len(name) {
	case len("Host"):
		if isName(name, "Host") {
			return kindHost
		}
	case len("Content-Length"):
		if isName(name, "Content-Length") {
			return kindContentLength
		}
	case len("Transfer-Encoding"):
		if isName(name, "Transfer-Encoding") {
			return kindTransferEncoding
		}
	case len("Content-Type"):
		if isName(name, "Content-Type") {
			return kindContentType
		}
	case len("Upgrade"):
		if isName(name, "Upgrade") {
			return kindUpgrade
		}
	case len("Connection"):
		if isName(name, "Connection") {
			return kindConnection
		}
	}
	return kindOther
}

// field looks at one field.
func (f *framing) field(k fieldKind, value string) {
	switch k {
	case kindContentLength:
		f.contentLength(value)
	case kindTransferEncoding:
		f.transferEncoding(value)
	case kindContentType:
		f.messages = grpc.KindOf(value)
	case kindUpgrade:
		f.upgrade = true
	case kindHost:
		f.host, f.hosts = true, f.hosts || f.host
	case kindConnection:
		f.close = f.close || hasToken(value, "close")
		f.keepAlive = f.keepAlive || hasToken(value, "keep-alive")
	}
}

// contentLength takes a value of Content-Length (RFC 9110 §8.6). A list of
// equal numbers counts as one; leading zeros are grammatical, but a known means
// to confuse, so they are flagged.
func (f *framing) contentLength(value string) {
	if n, ok := usualLength(value); ok && !f.lengthSeen {
		f.lengthSeen, f.length = true, n
		return
	}
	for {
		one, rest, more := strings.Cut(value, ",")
		one = strings.Trim(one, " \t")
		n, ok := parseLength(one)
		if !ok || f.lengthSeen && n != f.length {
			f.lengthBad, f.malformed = true, true
		}
		if len(one) > 1 && one[0] == '0' {
			f.malformed = true
		}
		f.lengthSeen, f.length = true, n
		if !more {
			return
		}
		value = rest
	}
}

// usualLength returns the one number, above 0, that nearly all values of Content-Length are.
func usualLength(s string) (n int64, ok bool) {
	if n, ok = parseLength(s); !ok || n == 0 || s[0] == '0' {
		return 0, false
	}
	return n, true
}

func parseLength(s string) (n int64, ok bool) {
	if s == "" {
		return 0, false
	}
	for i := range len(s) {
		c := s[i]
		if c < '0' || c > '9' || n > (math.MaxInt64-9)/10 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// transferEncoding takes a value of Transfer-Encoding (RFC 9112 §6.1).
func (f *framing) transferEncoding(value string) {
	f.coded = true
	for more := true; more; {
		var one string
		one, value, more = strings.Cut(value, ",")
		one, _, parameters := strings.Cut(one, ";")
		one = strings.Trim(one, " \t")
		f.malformed = f.malformed || f.chunked // which has to be last, and once
		f.chunked = strings.EqualFold(one, "chunked")
		f.malformed = f.malformed || f.chunked && parameters // it has none (RFC 9112 §7.1)
		f.oddCoding = !f.chunked && !isCoding(one)
	}
}

// isCoding reports whether a transfer coding is one that there is (RFC 9112 §7), or was:
// others are a known means to have chunked seen by who reads them less strictly.
func isCoding(name string) bool {
	switch strings.ToLower(name) {
	case "", "gzip", "x-gzip", "deflate", "compress", "x-compress", "identity":
		return true
	}
	return false
}

func hasToken(value, token string) bool {
	for more := true; more; {
		var one string
		one, value, more = strings.Cut(value, ",")
		if strings.EqualFold(strings.Trim(one, " \t"), token) {
			return true
		}
	}
	return false
}

// request returns how the body of a request is framed (RFC 9112 §6.3).
func (f *framing) request(http10 bool) bodyKind {
	switch {
	case f.cutTooLong:
		f.malformed = true
		return bodyUnknown
	case f.coded:
		f.malformed = f.malformed || f.lengthSeen || http10
		if !f.chunked {
			f.malformed = true
			return bodyUnknown
		}
		return bodyChunked
	case f.lengthBad:
		return bodyUnknown
	case f.length > 0:
		return bodyLength
	}
	return bodyNone
}

// response returns how the body of a final response is framed; toHead tells
// that it answers HEAD (RFC 9112 §6.3). Tunnels are the caller's to find.
func (f *framing) response(status int, toHead, http10 bool) bodyKind {
	switch {
	case toHead || status == 204 || status == 304 || status >= 100 && status < 200:
		return bodyNone
	case f.cutTooLong:
		f.malformed = true
		return bodyUnknown
	case f.coded:
		f.malformed = f.malformed || f.lengthSeen || http10 || f.oddCoding
		if !f.chunked {
			return bodyUntilClose
		}
		return bodyChunked
	case f.lengthBad:
		return bodyUnknown
	case f.lengthSeen && f.length > 0:
		return bodyLength
	case f.lengthSeen:
		return bodyNone
	}
	return bodyUntilClose
}
