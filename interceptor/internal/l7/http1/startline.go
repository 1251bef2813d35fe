package http1

import "bytes"

// protocolName is what every HTTP-version starts with, and maxVersionLen how
// long one may be that is none.
const (
	protocolName  = "HTTP/"
	maxVersionLen = 16
)

// maxMethodLen bounds a method; the longest registered one has 17 bytes.
const maxMethodLen = 32

// requestLine holds the parts of a request line (RFC 9112 §3) as offsets into
// the header section that it starts.
type requestLine struct {
	methodEnd                int
	targetStart, targetEnd   int
	versionStart, versionEnd int
	malformed                bool
}

// parse takes a line without its end. It accepts what servers are
// known to forgive, and marks it malformed: a misspelt version, a missing one
// behind a known method, a missing target, white space in the target, repeated spaces.
func (l *requestLine) parse(line []byte) (ok bool) {
	*l = requestLine{}
	l.methodEnd = bytes.IndexByte(line, ' ')
	if l.methodEnd < 1 || l.methodEnd > maxMethodLen || !isToken(line[:l.methodEnd]) {
		return false
	}
	return l.parseVersion(line) && l.parseTarget(line)
}

// parseVersion takes what stands behind the target, which ends with the line otherwise.
func (l *requestLine) parseVersion(line []byte) (ok bool) {
	end := len(line)
	if c := line[end-1]; c == ' ' || c == '\t' {
		end = len(bytes.TrimRight(line, " \t"))
		l.malformed = true
	}
	l.targetEnd = end
	last := bytes.LastIndexByte(line[:end], ' ')
	version := line[last+1 : end]
	if last >= l.methodEnd && bytes.HasPrefix(version, []byte(protocolName)) {
		l.versionStart, l.versionEnd = last+1, end
		l.targetEnd = last
	}
	switch {
	case l.versionEnd == 0 || !isVersion(version):
		l.malformed = true
		return knownMethod(line[:l.methodEnd]) || bytes.HasPrefix(version, []byte("HTTP/1."))
	case version[len(protocolName)] != '1':
		l.malformed = true
		return string(line[:l.methodEnd]) != "PRI" // the preface of HTTP/2 (RFC 9113 §3.4)
	}
	return true
}

// parseTarget takes what stands between the method and targetEnd.
func (l *requestLine) parseTarget(line []byte) (ok bool) {
	for l.targetEnd > l.methodEnd && line[l.targetEnd-1] == ' ' {
		l.targetEnd--
		l.malformed = true // a second space, or no target
	}
	l.targetStart = min(l.methodEnd+1, l.targetEnd)
	for l.targetStart < l.targetEnd && line[l.targetStart] == ' ' {
		l.targetStart++
		l.malformed = true
	}
	if l.targetStart == l.targetEnd && !knownMethod(line[:l.methodEnd]) {
		return false // the end of such a line, as may be behind a body that was not sent
	}
	l.malformed = l.malformed || l.targetStart == l.targetEnd || !isTarget(line[l.targetStart:l.targetEnd])
	return true
}

// take takes the line that b starts with, if that is there as a whole and as nearly
// everybody sends it: parse finds the same in it. It returns where the next line begins, 0 if
// parse has to look.
func (l *requestLine) take(b []byte) (next int) {
	const end = " HTTP/1.1" + lineEnd
	n := 0
	for n < len(b) && b[n]-'A' < 26 {
		n++
	}
	if n < minDetectMethodLen || n > maxDetectMethodLen || n == len(b) || b[n] != ' ' {
		return 0
	}
	targetEnd := n + 1 + plainLen(b[n+1:])
	if next = targetEnd + len(end); targetEnd == n+1 || next > len(b) || string(b[targetEnd:next]) != end {
		return 0
	}
	// Field by field: a copy of a struct written just now waits for its parts.
	l.methodEnd, l.targetStart, l.targetEnd = n, n+1, targetEnd
	l.versionStart, l.versionEnd, l.malformed = targetEnd+1, next-len(lineEnd), false
	return next
}

// cut takes the start of a request line whose end is beyond the
// limit.
func (l *requestLine) cut(b []byte) (ok bool) {
	*l = requestLine{}
	l.methodEnd = bytes.IndexByte(b, ' ')
	if l.methodEnd < 1 || l.methodEnd > maxMethodLen || !isToken(b[:l.methodEnd]) {
		return false
	}
	l.targetStart, l.targetEnd = l.methodEnd+1, len(b)
	if i := bytes.LastIndexByte(b, ' '); i >= l.targetStart && startsVersion(b[i+1:]) {
		l.targetEnd = i
	}
	return true
}

// startsVersion reports whether b may be the start of a version, or one with the CR behind
// it.
func startsVersion(b []byte) bool {
	const version = "HTTP/1."
	n := min(len(b), len(version))
	return len(b) <= len("HTTP/1.1\r") && string(b[:n]) == version[:n]
}

// statusLine holds the parts of a status line (RFC 9112 §4), as requestLine
// does.
type statusLine struct {
	status                 int
	versionEnd             int
	reasonStart, reasonEnd int
	malformed              bool
	broken                 bool // by a CR in it, which ends a line to some
}

// parse takes a line without its end, or the start of one. It is
// called where a status line has to be, so whatever browsers take for one is
// one, marked malformed if its version is none or a tab follows that.
func (l *statusLine) parse(line []byte) (ok bool) {
	*l = statusLine{}
	if l.versionEnd = len("HTTP/1.1"); len(line) > l.versionEnd && line[l.versionEnd] == ' ' && isVersion(line[:l.versionEnd]) {
		l.malformed = line[len(protocolName)] != '1'
	} else {
		l.malformed = true
		l.versionEnd = bytes.IndexAny(line, " \t")
		if l.versionEnd < len(protocolName) || l.versionEnd > maxVersionLen || !bytes.HasPrefix(line, []byte(protocolName)) {
			return false
		}
	}
	at := l.versionEnd + 1
	for at < len(line) && (line[at] == ' ' || line[at] == '\t') {
		at++
		l.malformed = true
	}
	// A code that is none is as good as its first digits: the line is where a
	// status line must be.
	code := line[at:]
	if i := bytes.IndexByte(code, ' '); i >= 0 {
		code = code[:i]
	}
	digits := 0
	for digits < min(len(code), 3) && code[digits] >= '0' && code[digits] <= '9' {
		l.status = l.status*10 + int(code[digits]-'0')
		digits++
	}
	if digits != len(code) || l.status < 100 || l.status > 599 {
		l.malformed = true
	}
	l.reasonStart = min(at+len(code)+1, len(line))
	l.reasonEnd = len(line)
	l.broken = bytes.IndexByte(line[l.reasonStart:], '\r') >= 0
	l.malformed = l.malformed || l.broken
	return true
}

// couldBeRequestLine reports whether b, which has no line end yet, may become
// a request line.
func couldBeRequestLine(b []byte) bool {
	sp := bytes.IndexByte(b, ' ')
	if sp < 0 {
		sp = len(b)
	}
	return sp > 0 && sp <= maxMethodLen && isToken(bytes.TrimSuffix(b[:sp], []byte("\r")))
}

// couldBeStatusLine is couldBeRequestLine for status lines.
func couldBeStatusLine(b []byte) bool {
	n := min(len(b), len(protocolName))
	return string(b[:n]) == protocolName[:n] &&
		(len(b) <= maxVersionLen || bytes.ContainsAny(b[:maxVersionLen+1], " \t"))
}

// isVersion reports whether b has the form of HTTP-version (RFC 9112 §2.3).
func isVersion(b []byte) bool {
	const form = "HTTP/0.0"
	if len(b) != len(form) {
		return false
	}
	for i := range form {
		if form[i] == '0' && (b[i] < '0' || b[i] > '9') || form[i] != '0' && b[i] != form[i] {
			return false
		}
	}
	return true
}

// isTarget reports whether b has neither spaces nor control characters.
func isTarget(b []byte) bool { return targetLen(b) == len(b) }

// targetLen returns how many bytes of b come before the first space or control
// character.
func targetLen(b []byte) int {
	at := 0
	for ; at >= 0 && at < len(b)-7; at += 8 {
		v := word(b, at)
		if m := below(v, ' '+1) | equal(v, 0x7f); m != 0 {
			return at + first(m)
		}
	}
	for at < len(b) && b[at] > ' ' && b[at] != 0x7f {
		at++
	}
	return at
}

// plainLen returns how many bytes of b, all but the last seven at most, come before the
// first that is a space, a control character or none of ASCII.
func plainLen(b []byte) int {
	at := 0
	for ; at >= 0 && at < len(b)-7; at += 8 {
		v := word(b, at)
		// Borrowing marks a byte up to a space, its highest bit another, and DEL gets that.
		if m := ((v - (' '+1)*eachLow) | (v + eachLow)) & eachHigh; m != 0 {
			return at + first(m)
		}
	}
	return at
}

// isToken reports whether b consists of tchar (RFC 9110 §5.6.2).
func isToken(b []byte) bool {
	for _, c := range b {
		if !tchar[c] {
			return false
		}
	}
	return true
}

// tchar is read only.
var tchar = func() (t [256]bool) {
	for _, c := range []byte("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		t[c] = true
	}
	return t
}()

// knownMethod tells the methods of RFC 9110, PATCH, WebDAV and UPnP: those that
// are believed without a version behind them.
func knownMethod(b []byte) bool {
	switch string(b) {
	case "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
		"PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "SEARCH", "REPORT",
		"NOTIFY", "SUBSCRIBE", "UNSUBSCRIBE", "M-SEARCH", "PURGE", "QUERY":
		return true
	}
	return false
}
