package afpacket

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Stats counts the frames of a ring since it was opened.
type Stats struct {
	Packets uint64 // frames that passed the socket's filter, those in Drops included
	Drops   uint64 // of those: lost since no block was free
	Freezes uint64 // times the kernel found the next block not yet released
	// Malformed counts frames that the ring didn't hand out, as the kernel's
	// description of them pointed outside their block. It should stay 0.
	Malformed uint64
}

// Stats returns the counters since Open; after Close the last ones. The
// kernel's counters are 32 bits wide and start again at each reading, so call
// it at least every 2³² frames.
func (r *Ring) Stats() (Stats, error) {
	r.statsMu.Lock()
	defer r.statsMu.Unlock()
	var err error
	if !r.closed.Load() {
		err = r.readStats()
	}
	s := r.stats
	s.Malformed = r.malformed.Load()
	return s, err
}

// readStats adds the kernel's counters to r.stats (struct tpacket_stats_v3).
func (r *Ring) readStats() error {
	k, err := unix.GetsockoptTpacketStatsV3(r.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return fmt.Errorf("afpacket: statistics: %w", err)
	}
	r.stats.Packets += uint64(k.Packets)
	r.stats.Drops += uint64(k.Drops)
	r.stats.Freezes += uint64(k.Freeze_q_cnt)
	return nil
}
