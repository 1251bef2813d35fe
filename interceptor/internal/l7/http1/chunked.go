package http1

import (
	"bytes"

	capstanv1 "capstan/proto/capstan/v1"
)

// maxChunkDigits bounds the size of a chunk to 60 bits; more digits than that
// are an attack or garbage.
const maxChunkDigits = 15

// chunkLine is the line before a chunk (RFC 9112 §7.1), as far as it was seen.
type chunkLine struct {
	size     int64
	digits   int  // significant ones
	any      bool // at least one digit was there
	ended    bool // only extensions and the line end can follow
	extended bool // extensions have begun
	odd      bool // something else follows, which some take for the end of the line, or for a part of the size
	cr       bool // the last byte was the CR of a line end
}

// chunkSize takes bytes of the line with the size of a chunk.
func (h *half) chunkSize(b []byte, boundary bool) int {
	l := &h.chunk
	if boundary && !l.any && h.unsent(b) {
		h.ambiguous()
		h.endMessage(false)
		return 0
	}
	for i, c := range b {
		if l.ended {
			j := bytes.IndexByte(b[i:], '\n')
			if j < 0 {
				l.extension(b[i:])
				return h.framingBytes(len(b))
			}
			l.extension(b[i : i+j])
			return h.chunkLineDone(i + j + 1)
		}
		switch d, ok := hexDigit(c); {
		case ok:
			l.any = true
			if l.digits > 0 || d > 0 {
				l.digits++
			}
			if l.digits > maxChunkDigits {
				return h.badChunk(i)
			}
			l.size = l.size<<4 | int64(d)
		case !l.any:
			return h.badChunk(i)
		case c == '\n':
			return h.chunkLineDone(i + 1)
		case c == ';' || c == '\r' || c == ' ' || c == '\t':
			l.ended, l.extended, l.cr = true, c == ';', c == '\r'
		default:
			return h.badChunk(i)
		}
	}
	return h.framingBytes(len(b))
}

// extension takes bytes between the size and the end of the line, of which blanks may be
// the first (RFC 9112 §7.1.1). A CR among them ends the line for some.
func (l *chunkLine) extension(b []byte) {
	if len(b) == 0 {
		return
	}
	last := len(b) - 1
	l.odd = l.odd || l.cr || bytes.IndexByte(b[:last], '\r') >= 0
	l.cr = b[last] == '\r'
	if l.extended {
		return
	}
	if b = bytes.TrimLeft(b, " \t"); len(b) > 0 && b[0] != '\r' {
		l.extended = true
		l.odd = l.odd || b[0] != ';'
	}
}

// chunkLineDone goes to the chunk, or behind the last one to the trailers.
func (h *half) chunkLineDone(n int) int {
	h.framingBytes(n)
	if !h.chunk.cr || h.chunk.odd {
		h.ambiguous() // not everybody takes LF alone
	}
	size := h.chunk.size
	h.chunk = chunkLine{}
	if size > 0 {
		h.state, h.remaining = stateChunkData, size
		return n
	}
	h.state = stateHead
	h.section.reset()
	h.lined, h.trailers = true, true
	return n
}

// chunkEnd takes the line end behind a chunk.
func (h *half) chunkEnd(b []byte) int {
	switch c := b[0]; {
	case c == '\r' && !h.chunk.cr:
		h.chunk.cr = true
	case c == '\n':
		if !h.chunk.cr {
			h.ambiguous()
		}
		h.state, h.chunk = stateChunkSize, chunkLine{}
	default:
		return h.badChunk(0)
	}
	return h.framingBytes(1)
}

// gapInChunks takes n missing bytes: exact when they end within the chunk in progress, or
// within the line end behind it. acked is what the sender of the byte before had received.
func (h *half) gapInChunks(n, acked int64) {
	if h.state == stateChunkData {
		inside := min(n, h.remaining)
		h.missBody(inside)
		h.offset += inside
		h.advance(inside)
		n -= inside
	}
	if n > 0 && h.state == stateChunkEnd && !h.messageFlaws().Has(capstanv1.Flaw_FLAW_MALFORMED) {
		end := int64(len(lineEnd))
		if h.chunk.cr {
			end--
		}
		if n <= end {
			h.messageFlaws().Add(capstanv1.Flaw_FLAW_GAP)
			h.chunk.cr = true
			if n == end {
				h.state, h.chunk = stateChunkSize, chunkLine{}
			}
			return
		}
	}
	if n > 0 {
		h.seek(n, acked)
	}
}

// badChunk gives up the body after n good bytes.
func (h *half) badChunk(n int) int {
	h.framingBytes(n)
	h.lost(capstanv1.Flaw_FLAW_MALFORMED)
	return n
}

func (h *half) framingBytes(n int) int {
	h.msgLast = max(h.msgLast, h.time)
	h.c.shared.Stats.FramingBytes += uint64(n)
	return n
}

func hexDigit(c byte) (v byte, ok bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
