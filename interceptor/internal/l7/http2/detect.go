package http2

import "bytes"

// How many frames in a row are a witness: in the first segment of a direction,
// and anywhere if they are longer together than one may be.
const (
	chainAtBoundary = 2
	chainAnywhere   = 3
)

// LooksLikePreface reports whether b starts as a client does that knows that the
// server speaks HTTP/2: with the preface, all of it, since part of it may be the
// start of a strange request of HTTP/1. With ok false, needMore tells that more bytes
// could still make it true.
func LooksLikePreface(b []byte) (ok, needMore bool) {
	n := min(len(b), len(preface))
	if string(b[:n]) != preface[:n] {
		return false, false
	}
	return n == len(preface), n < len(preface)
}

// LooksLikeCutPreface reports whether b, behind which bytes are missing, is the start
// of the preface, long enough to be that of nothing else.
func LooksLikeCutPreface(b []byte) bool {
	return len(b) >= len("PRI * HTTP/2") && len(b) < len(preface) && string(b) == preface[:len(b)]
}

// LooksLikeSettings reports whether b starts with a frame of settings, the
// first that a server sends.
func LooksLikeSettings(b []byte) (ok, needMore bool) {
	start := [...]byte{0, 0, 0, byte(frameSettings), 0, 0, 0, 0, 0}
	for i := range min(len(b), frameHeaderLen) {
		if i != 1 && i != 2 && b[i] != start[i] {
			return false, false
		}
	}
	if len(b) < frameHeaderLen {
		return false, len(b) > 0
	}
	f := parseFrameHeader(b)
	return f.plausible(roleServer, defaultMaxFrame) || f.length == 0, false
}

// LooksLikeFrames reports whether b, the start of a segment and maybe of more,
// looks like the middle of a connection: a frame that ends where b does, or
// behind which there is another. With ok false, needMore tells that more bytes
// could still make it true.
func LooksLikeFrames(b []byte) (ok, needMore bool) {
	for n := 1; ; n++ {
		if len(b) < frameHeaderLen {
			return false, couldBeFrame(b)
		}
		f := parseFrameHeader(b)
		if !f.plausible(roleUnknown, defaultMaxFrame) {
			return false, false
		}
		b = b[frameHeaderLen:]
		if n == chainAtBoundary || int(f.length) == len(b) {
			return true, false
		}
		if int(f.length) > len(b) {
			return false, true
		}
		b = b[f.length:]
	}
}

// couldBeFrame reports whether b may be the first bytes of a frame's header.
func couldBeFrame(b []byte) bool {
	// The longest plausible frame has two bytes of length.
	return bytes.HasPrefix(b, []byte{0}) && (len(b) < 4 || int(b[3]) < len(definedFlags))
}
