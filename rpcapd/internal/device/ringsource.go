//go:build linux

package device

import (
	"errors"
	"time"

	"capstan/pkg/afpacket"
)

// ringSource hands the frames of a ring out in batches. It implements
// pump.Source.
type ringSource struct {
	ring   *afpacket.Ring
	chosen *selection // closed with the ring; may be nil

	// Owned by the goroutine that reads.
	block afpacket.Block
	held  bool // block has frames left
}

func newRingSource(r *afpacket.Ring, chosen *selection) *ringSource {
	return &ringSource{ring: r, chosen: chosen}
}

// Read returns the next frames of the block at hand, or of the next block. A
// block is given back to the kernel by the call after the one that returned
// its last frame.
func (s *ringSource) Read(frames []afpacket.Frame, timeout time.Duration) (int, error) {
	for {
		if s.held {
			if n := s.take(frames); n > 0 {
				return n, nil
			}
			s.block.Release()
			s.held = false
		}
		if err := s.ring.Next(&s.block, timeout); err != nil {
			return 0, err
		}
		s.held = true
	}
}

func (s *ringSource) take(frames []afpacket.Frame) (n int) {
	for n < len(frames) && s.block.Next(&frames[n]) {
		n++
	}
	return n
}

func (s *ringSource) Stats() (afpacket.Stats, error) { return s.ring.Stats() }

// Close is called when nobody reads any more; it gives up the block at hand.
func (s *ringSource) Close() error {
	err := errors.Join(s.ring.Close(), s.chosen.Close())
	if s.held {
		s.block.Release()
		s.held = false
	}
	return err
}
