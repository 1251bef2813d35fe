//go:build linux

package sink

import "slices"

// maxGaps bounds the memory of a Sequence: 1 MiB.
const maxGaps = 1 << 16

// Sequence tells which of the frames numbered 0, 1, 2… arrived, exactly and in
// little memory: it keeps what is missing. Frames in order cost a comparison.
type Sequence struct {
	Unique     uint64 // numbers that arrived
	Duplicates uint64 // arrivals of a number that had arrived before
	Late       uint64 // of Unique: after a higher number
	// Unclear counts arrivals in gaps so old that they have been forgotten:
	// late, or duplicates. They are not in Unique.
	Unclear uint64

	next uint64 // above the highest number that arrived
	gaps []gap  // below next, ascending
	old  uint64 // gaps below have been forgotten
}

// gap is a range of numbers that didn't arrive: from ≤ n < to.
type gap struct{ from, to uint64 }

// Add takes the arrival of a frame.
func (s *Sequence) Add(seq uint64) {
	if seq == s.next {
		s.next++
		s.Unique++
		return
	}
	s.addOutOfOrder(seq)
}

func (s *Sequence) addOutOfOrder(seq uint64) {
	if seq > s.next {
		if len(s.gaps) == maxGaps { // the older half, so that this is rare
			s.old = s.gaps[maxGaps/2-1].to
			s.gaps = append(s.gaps[:0], s.gaps[maxGaps/2:]...)
		}
		s.gaps = append(s.gaps, gap{s.next, seq})
		s.next = seq + 1
		s.Unique++
		return
	}
	// The first gap that ends above seq.
	i, _ := slices.BinarySearchFunc(s.gaps, seq, func(g gap, seq uint64) int {
		if g.to <= seq {
			return -1
		}
		return 1
	})
	switch {
	case i < len(s.gaps) && s.gaps[i].from <= seq:
		s.fill(i, seq)
		s.Late++
		s.Unique++
	case seq < s.old:
		s.Unclear++
	default:
		s.Duplicates++
	}
}

// fill takes seq out of gap i.
func (s *Sequence) fill(i int, seq uint64) {
	switch g := &s.gaps[i]; {
	case g.from == seq && g.to == seq+1:
		s.gaps = slices.Delete(s.gaps, i, i+1)
	case g.from == seq:
		g.from++
	case g.to == seq+1:
		g.to--
	default:
		upper := gap{seq + 1, g.to}
		g.to = seq
		s.gaps = slices.Insert(s.gaps, i+1, upper)
	}
}
