package http1

import "bytes"

// Limits of what is looked at to recognise a request line.
const (
	minDetectMethodLen = 3
	maxDetectMethodLen = 20
	// certainTargetLen is the length from which the path behind a known method
	// is believed without the version behind it.
	certainTargetLen = 512
	// maxDetectLen is where an unknown method stops to be believed.
	maxDetectLen = 8 << 10
	// maxLooks is how many segments it may come in: it is looked at again with each.
	maxLooks = 256
)

// Begins reports whether b, the first bytes of a client, starts with a request line as
// nearly everybody sends it, all of it: then a Conn tells what follows.
func (s *Shared) Begins(b []byte) bool {
	var l requestLine
	return l.take(b[:min(len(b), s.cfg.MaxHeadLen)]) > 0 && b[l.targetStart] == '/'
}

// LooksLikeRequest reports whether b starts like an HTTP/1 request: a method of
// 3 to 20 capital letters, dashes and underscores, a space, a target and
// " HTTP/1.". Behind a known method a path is enough, if it is long or ends the
// line, so is the version alone, and there may be spaces before a path and in it.
// Empty lines may stand in front (RFC 9112 §2.2). midstream tells that b may be
// something else than the start of a connection: then nothing may stand behind the
// version. With ok false, needMore tells that more bytes could still make it true.
func LooksLikeRequest(b []byte, midstream bool) (ok, needMore bool) {
	ok, needMore = looksLikeRequest(b)
	return ok && !(midstream && versionInside(b)), needMore
}

// versionInside reports whether b's first line goes on behind the version, as that
// of a log does.
func versionInside(b []byte) bool {
	line, _, whole := bytes.Cut(bytes.TrimLeft(b, "\r\n"), []byte("\n"))
	_, behind, found := bytes.Cut(line, []byte(" HTTP/1."))
	return whole && found && len(bytes.TrimRight(behind, "\r \t")) > len("1")
}

func looksLikeRequest(b []byte) (ok, needMore bool) {
	for len(b) > 0 && (b[0] == '\r' || b[0] == '\n') {
		b = b[1:]
	}
	n := detectMethodLen(b)
	if n == len(b) {
		return false, n <= maxDetectMethodLen
	}
	if n < minDetectMethodLen || n > maxDetectMethodLen || b[n] != ' ' {
		return false, false
	}
	method, target := b[:n], b[n+1:]
	if len(target) > 0 && target[0] == ' ' && knownMethod(method) {
		target = behindSpaces(target)
	}
	return looksLikeTarget(method, target, len(b) < maxDetectLen)
}

// detectMethodLen returns how many bytes of b may be a method's, one more than
// maxDetectMethodLen at the most.
func detectMethodLen(b []byte) (n int) {
	for n < len(b) && n <= maxDetectMethodLen && (b[n] >= 'A' && b[n] <= 'Z' || (b[n] == '-' || b[n] == '_') && n > 0) {
		n++
	}
	return n
}

// looksLikeTarget is looksLikeRequest for what stands behind the method and a space. mayGrow
// tells that a target without an end is not too long yet.
func looksLikeTarget(method, target []byte, mayGrow bool) (ok, needMore bool) {
	i := targetLen(target)
	switch {
	case isCertainPath(method, target[:i]):
		return true, false
	case i == len(target):
		return false, mayGrow
	case i == 0:
		return false, false
	case target[i] == '\r', target[i] == '\n':
		version, _ := startsWith(target, "HTTP/1.")
		return (version || target[0] == '/') && knownMethod(method), false
	case target[i] != ' ':
		return false, false
	}
	if ok, needMore = startsWith(target[i+1:], "HTTP/1."); ok || needMore || target[0] != '/' || !knownMethod(method) {
		return ok, needMore
	}
	return versionFollows(target[i:])
}

// behindSpaces returns b without the spaces that it starts with.
func behindSpaces(b []byte) []byte {
	const spaces = "        "
	for len(b) >= len(spaces) && string(b[:len(spaces)]) == spaces {
		b = b[len(spaces):]
	}
	return bytes.TrimLeft(b, " ")
}

// versionFollows reports whether " HTTP/1." is in b's first line: a target with
// spaces in it, which nobody may send and exploits do.
func versionFollows(b []byte) (ok, needMore bool) {
	b = b[:min(len(b), maxDetectLen)]
	line := b
	for _, end := range "\r\n" { // one after the other is far faster than IndexAny
		if i := bytes.IndexByte(line, byte(end)); i >= 0 {
			line = line[:i]
		}
	}
	ok = bytes.Contains(line, []byte(" HTTP/1."))
	return ok, !ok && len(line) == len(b) && len(b) < maxDetectLen
}

// isCertainPath reports whether a request is believed by its method and this path alone,
// whatever stands behind that.
func isCertainPath(method, path []byte) bool {
	return len(path) >= certainTargetLen && path[0] == '/' && knownMethod(method)
}

// certainPathLen returns how far a request line goes that is believed by its method and
// path alone, 0 if b does not start with one.
func certainPathLen(b []byte) int {
	method, behind, _ := bytes.Cut(b, []byte(" "))
	n := targetLen(behind)
	if !isCertainPath(method, behind[:n]) {
		return 0
	}
	return len(method) + 1 + n
}

// LooksLikeCutRequest reports whether b, behind which bytes are missing, holds
// the start of a request line: a known method and a path. midstream tells that b
// may be something else than the start of a connection: then it has to hold the
// whole target, and behind that nothing but the start of a version.
func LooksLikeCutRequest(b []byte, midstream bool) bool {
	_, whole, ok := parseCutRequestLine(b)
	return ok && (whole || !midstream)
}

// parseCutRequestLine takes the first part of a request line; whole tells that
// it holds the target's end.
func parseCutRequestLine(b []byte) (l requestLine, whole, ok bool) {
	l.methodEnd = bytes.IndexByte(b, ' ')
	if l.methodEnd < 0 || !knownMethod(b[:l.methodEnd]) {
		return l, false, false
	}
	l.targetStart = l.methodEnd + 1
	target := b[l.targetStart:]
	if n := bytes.IndexByte(target, ' '); n >= 0 {
		version := bytes.TrimSuffix(target[n+1:], []byte("\r"))
		whole = isVersion(version) || bytes.HasPrefix([]byte("HTTP/1."), version)
		target = target[:n]
	} else if !bytes.HasPrefix(target, []byte("/")) {
		return l, false, false
	}
	l.targetEnd = l.targetStart + len(target)
	return l, whole, len(target) > 0 && isTarget(target) && (whole || l.targetEnd == len(b))
}

// LooksLikeResponse reports whether b starts like an HTTP/1 response:
// "HTTP/1.", a digit, a space, three digits and a space or the line's end. With
// ok false, needMore tells that more bytes could still make it true.
func LooksLikeResponse(b []byte) (ok, needMore bool) {
	const form = "HTTP/1.0 000"
	for i := range min(len(b), len(form)) {
		if form[i] == '0' {
			if b[i] < '0' || b[i] > '9' {
				return false, false
			}
		} else if b[i] != form[i] {
			return false, false
		}
	}
	if len(b) <= len(form) {
		return false, true
	}
	switch b[len(form)] {
	case ' ', '\r', '\n':
		return true, false
	}
	return false, false
}

func startsWith(b []byte, prefix string) (ok, needMore bool) {
	n := min(len(b), len(prefix))
	if string(b[:n]) != prefix[:n] {
		return false, false
	}
	return n == len(prefix), n < len(prefix)
}
