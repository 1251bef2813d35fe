package defrag

import (
	"bytes"
	"slices"

	"capstan/pkg/packet"
)

// datagram is one whose fragments are being collected.
type datagram struct {
	key        key
	at         int64 // time of the first fragment
	prev, next *datagram

	protocol  byte    // of the fragment at offset 0
	pieces    []piece // sorted, disjoint
	fragments int     // that the pieces came in
	length    int     // of all pieces
	end       int     // length of the whole, -1 until the last fragment is there
	charge    int     // as of the last settle

	over   bool // handed out or refused
	overAt int64
}

// piece is a run of bytes of a datagram. Its data are owned by the datagram.
type piece struct {
	off  int
	data []byte
}

func (p *piece) end() int { return p.off + len(p.data) }

// take adds what is new of f, or tells why there is nothing to add.
func (g *datagram) take(f *packet.Fragment, stats *Stats) (DropReason, bool) {
	end := f.Offset + len(f.Payload)
	switch {
	case g.over:
		return DropRepeated, false
	case g.end >= 0 && (end > g.end || !f.More && end != g.end), !f.More && g.tail() > end:
		// Fragments that disagree about where the datagram ends.
		return DropMalformed, false
	}
	overlap, differs := g.compare(f)
	switch {
	case overlap == len(f.Payload) && !differs:
		return DropRepeated, false
	case overlap > 0 && f.IPv6:
		return DropOverlap, false
	case overlap > 0:
		stats.Overlaps++
		if differs {
			stats.Conflicts++
		}
		if overlap == len(f.Payload) {
			return DropRepeated, false
		}
	}
	if !f.More {
		g.end = end
	}
	if f.Offset == 0 {
		g.protocol = f.Protocol
	}
	g.insert(f)
	return 0, true
}

// tail returns where the pieces end.
func (g *datagram) tail() int {
	if n := len(g.pieces); n > 0 {
		return g.pieces[n-1].end()
	}
	return 0
}

// compare returns how many bytes of f are there already, and whether any of
// them differ.
func (g *datagram) compare(f *packet.Fragment) (overlap int, differs bool) {
	for i := range g.pieces {
		p := &g.pieces[i]
		from, to := max(p.off, f.Offset), min(p.end(), f.Offset+len(f.Payload))
		if from >= to {
			continue
		}
		overlap += to - from
		if !bytes.Equal(p.data[from-p.off:to-p.off], f.Payload[from-f.Offset:to-f.Offset]) {
			differs = true
		}
	}
	return overlap, differs
}

// insert adds the parts of f that no piece covers.
func (g *datagram) insert(f *packet.Fragment) {
	i := 0
	for cur, end := f.Offset, f.Offset+len(f.Payload); cur < end; i++ {
		if i < len(g.pieces) && g.pieces[i].off <= cur {
			cur = max(cur, g.pieces[i].end())
			continue
		}
		next := end
		if i < len(g.pieces) {
			next = min(end, g.pieces[i].off)
		}
		data := bytes.Clone(f.Payload[cur-f.Offset : next-f.Offset])
		g.pieces = slices.Insert(g.pieces, i, piece{off: cur, data: data})
		g.length += len(data)
		cur = next
	}
}

// settle brings the charge in line with the pieces and returns the difference.
func (g *datagram) settle() int {
	was := g.charge
	g.charge = datagramCharge + g.length + len(g.pieces)*pieceCharge
	return g.charge - was
}
