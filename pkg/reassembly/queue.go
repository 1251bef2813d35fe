package reassembly

import (
	"bytes"
	"slices"
)

// piece is a run of bytes of one segment that waits behind a hole.
type piece struct {
	off   int64
	time  int64 // of the segment
	acked int64 // as in Chunk
	since int64 // assembler time when the first of it and those behind it came
	n     int
	buf   []byte // a copy, owned by the queue; nil if a snap length cut the bytes
}

func (p *piece) end() int64 { return p.off + int64(p.n) }

// bytes returns those at offsets from to to, nil if they were not captured.
func (p *piece) bytes(from, to int64) []byte {
	if p.buf == nil {
		return nil
	}
	return p.buf[from-p.off : to-p.off]
}

// pieceCharge is what a piece counts against the limits beside its payload.
const pieceCharge = 64

// maxPieces bounds the pieces of a direction whatever their size, since each that
// comes out of order moves those behind it: 4 MiB of them in segments of Ethernet's
// size, and never so many single bytes that a sender of those costs us more than others.
const maxPieces = 4096

// enqueue copies what is new of in to the queue of h. In.payload, at offset
// start, and the missing bytes behind it may overlap pieces, which stay but for
// what Config.Overlap says.
func (a *Assembler) enqueue(h *half, start int64, in *arrival) {
	queued := a.stats.QueuedBytes
	conflict := false
	if n := len(in.payload); n > 0 {
		conflict = a.insert(h, piece{off: start, time: in.time, acked: in.acked, since: a.now, n: n}, in.payload)
	}
	if in.missing > 0 {
		a.insert(h, piece{off: start + int64(len(in.payload)), time: in.time, acked: in.acked, since: a.now, n: in.missing}, nil)
	}
	if conflict {
		a.conflict(h)
	}
	if len(in.payload) > 0 && a.stats.QueuedBytes == queued {
		a.stats.Duplicates++
	}
}

// insert puts the parts of p that no piece covers into the queue. payload is
// p's content, nil if it was not captured. It reports whether p differs from
// what it overlaps.
func (a *Assembler) insert(h *half, p piece, payload []byte) (conflict bool) {
	first := len(h.pieces)
	for first > 0 && h.pieces[first-1].end() > p.off {
		first-- // most segments belong behind all others
	}
	if first == len(h.pieces) {
		h.pieces = append(h.pieces, a.part(h, first, p, p.off, p.end(), payload))
		return false
	}
	// All that comes to lie between others is put there at once, however much it is.
	fit, i := a.fit[:0], first
	for cur, end := p.off, p.end(); cur < end; {
		if i == len(h.pieces) || cur < h.pieces[i].off {
			next := end
			if i < len(h.pieces) {
				next = min(end, h.pieces[i].off)
			}
			fit = append(fit, a.part(h, i, p, cur, next, payload))
			cur = next
			continue
		}
		old := &h.pieces[i]
		next := min(end, old.end())
		if payload != nil {
			a.stats.DuplicateBytes += uint64(next - cur)
			if before, now := old.bytes(cur, next), payload[cur-p.off:next-p.off]; before != nil && !bytes.Equal(before, now) {
				conflict = true
				if a.cfg.Overlap == OverlapLast {
					copy(before, now)
				}
			}
		}
		fit = append(fit, *old)
		cur, i = next, i+1
	}
	h.pieces = slices.Replace(h.pieces, first, i, fit...)
	clear(fit)
	if cap(fit) <= maxRecycledPieces {
		a.fit = fit
	}
	return conflict
}

// part returns [from, to) of p, which is to come before piece i of the queue.
func (a *Assembler) part(h *half, i int, p piece, from, to int64, payload []byte) piece {
	charge := pieceCharge
	if payload != nil {
		// Copied because the segment's bytes are valid during the call only.
		p.buf = a.buffers.copy(payload[from-p.off : to-p.off])
		a.stats.QueuedBytes += int(to - from)
		charge += int(to - from)
	}
	p.off, p.n = from, int(to-from)
	if i < len(h.pieces) {
		p.since = h.pieces[i].since
	}
	h.charge += charge
	a.charge += charge
	return p
}

// dequeue removes the first n pieces of h; QueuedBytes is the caller's.
func (a *Assembler) dequeue(h *half, n int) {
	for i := range h.pieces[:n] {
		charge := pieceCharge
		if p := &h.pieces[i]; p.buf != nil {
			charge += p.n
			a.buffers.put(p.buf)
		}
		h.charge -= charge
		a.charge -= charge
	}
	h.pieces = slices.Delete(h.pieces, 0, n)
}
