package engine

import (
	"bytes"

	"capstan/pkg/flow"
	"capstan/pkg/reassembly"
)

// maxHeld bounds the bytes kept while the protocol of a connection is
// undecided: twice what it takes to recognise the longest start line.
const maxHeld = 16 << 10

// maxHeldChunks bounds the pieces that these bytes are held in: each costs
// memory of its own, and all are looked at again with each new one.
const maxHeldChunks = 256

// maxHeldGaps bounds what is held with gaps that cut nothing of it off: more of them say
// nothing new.
const maxHeldGaps = 16

// held is a chunk or gap that arrived before the protocol was known.
type held struct {
	d       flow.Direction
	gap     bool
	skipped bool             // chunk is the last byte of some that made no sense
	chunk   reassembly.Chunk // its Bytes are owned by this value
	lost    reassembly.Gap
}

// giveTo hands h over.
func (h *held) giveTo(to interface {
	Data(flow.Direction, reassembly.Chunk)
	Gap(flow.Direction, reassembly.Gap)
}) {
	if h.gap {
		to.Gap(h.d, h.lost)
	} else {
		to.Data(h.d, h.chunk)
	}
}

// cut takes off what is before offset, and reports whether anything is left.
func (h *held) cut(offset int64) bool {
	if h.gap {
		return h.lost.Offset >= offset
	}
	n := min(max(offset-h.chunk.Offset, 0), int64(len(h.chunk.Bytes)))
	h.chunk.Bytes, h.chunk.Offset = h.chunk.Bytes[n:], h.chunk.Offset+n
	return len(h.chunk.Bytes) > 0
}

// backlog is what came of a connection before its protocol was known, in order.
type backlog struct {
	held    []held
	heldLen int // bytes
	// whole has the bytes held of each direction in one piece, but those that were skipped,
	// since all are looked at again with each new one. Nil if none are held.
	whole *[2][]byte
}

// full reports whether n bytes more are too many.
func (b *backlog) full(n int) bool { return b.heldLen+n > maxHeld || len(b.held) >= maxHeldChunks }

// prefix returns the bytes of d held so far followed by more, until the next call.
func (b *backlog) prefix(d flow.Direction, more []byte) []byte {
	if b.whole == nil || len(b.whole[d]) == 0 {
		return more
	}
	w := &b.whole[d]
	n := len(*w)
	whole := append(*w, more...)
	*w = whole[:n] // with the room that more took
	return whole
}

// hold keeps chunk, a copy of its bytes because the frame's buffer is reused.
func (b *backlog) hold(d flow.Direction, chunk reassembly.Chunk) {
	if b.whole == nil {
		b.whole = new([2][]byte)
	}
	w := &b.whole[d]
	n := len(*w)
	*w = append(*w, chunk.Bytes...)
	chunk.Bytes = (*w)[n:len(*w):len(*w)]
	b.held = append(b.held, held{d: d, chunk: chunk})
	b.heldLen += len(chunk.Bytes)
}

// holdGap keeps g.
func (b *backlog) holdGap(d flow.Direction, g reassembly.Gap) {
	b.held = append(b.held, held{d: d, gap: true, lost: g})
}

// holdLast keeps the last byte of chunk, in place of what is held of d.
func (b *backlog) holdLast(d flow.Direction, chunk reassembly.Chunk) {
	b.drop(d)
	last := len(chunk.Bytes) - 1
	chunk.Bytes, chunk.Offset = bytes.Clone(chunk.Bytes[last:]), chunk.Offset+int64(last)
	b.held = append(b.held, held{d: d, skipped: true, chunk: chunk})
	b.heldLen++
}

// last returns the last chunk held of d, nil if there is none.
func (b *backlog) last(d flow.Direction) *reassembly.Chunk {
	for i := len(b.held) - 1; i >= 0; i-- {
		if h := &b.held[i]; h.d == d && !h.gap {
			return &h.chunk
		}
	}
	return nil
}

// drop drops the bytes held of d.
func (b *backlog) drop(d flow.Direction) {
	kept := b.held[:0]
	for _, h := range b.held {
		if h.d == d && !h.gap {
			b.heldLen -= len(h.chunk.Bytes)
			continue
		}
		kept = append(kept, h)
	}
	b.held = kept
	b.cut(d)
}

// cut has what comes next of d not go on from what is held.
func (b *backlog) cut(d flow.Direction) {
	if b.whole != nil {
		b.whole[d] = nil
	}
}
