//go:build linux

package device

import (
	"errors"
	"time"

	"capstan/pkg/afpacket"
)

// ringSource hands the frames of a ring out block by block. It implements
// pump.Source.
type ringSource struct {
	ring   *afpacket.Ring
	chosen *selection     // closed with the ring; may be nil
	block  afpacket.Block // owned by the goroutine that reads
}

func newRingSource(r *afpacket.Ring, chosen *selection) *ringSource {
	return &ringSource{ring: r, chosen: chosen}
}

func (s *ringSource) NextBlock(timeout time.Duration) error {
	s.block.Release()
	return s.ring.Next(&s.block, timeout)
}

func (s *ringSource) Next(f *afpacket.Frame) bool { return s.block.Next(f) }

func (s *ringSource) Stats() (afpacket.Stats, error) { return s.ring.Stats() }

// Close is called when nobody reads any more; it gives up the block at hand.
func (s *ringSource) Close() error {
	err := errors.Join(s.ring.Close(), s.chosen.Close())
	s.block.Release()
	return err
}
