//go:build linux

package device

import (
	"errors"
	"sync/atomic"
	"time"

	"capstan/pkg/afpacket"
)

// ringSource hands the frames of a ring out block by block. It implements
// pump.Source.
type ringSource struct {
	ring   *afpacket.Ring
	chosen *selection     // closed with the ring; may be nil
	block  afpacket.Block // owned by the goroutine that reads
	open   *atomic.Int64  // rings, with this one until it is closed
}

func newRingSource(r *afpacket.Ring, chosen *selection, open *atomic.Int64) *ringSource {
	open.Add(1)
	return &ringSource{ring: r, chosen: chosen, open: open}
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
	s.open.Add(-1)
	return err
}
