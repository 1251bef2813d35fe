package pump

import (
	"capstan/pkg/capture"
	"capstan/pkg/rpcap"
)

// Stats is a snapshot of one capture's counters.
type Stats struct {
	capture.Stats
	Bytes uint64 // of frames and their PACKET headers, handed to the data connection
}

// Stats returns the counters since Start. While the capture runs they are read
// one after the other, so frames on their way are now in one, now in another;
// once the pump has ended, the sums of [capture.Stats] hold exactly. The error
// is that of reading the kernel's counters.
func (p *Pump) Stats() (Stats, error) {
	p.statsMu.Lock()
	defer p.statsMu.Unlock()
	if p.final != nil {
		return *p.final, nil
	}
	return p.read(false)
}

// Reply returns the counters as a STATS_REPLY carries them: what the reference
// calls received are the frames that passed the filter, dropped ones included.
func (s *Stats) Reply() rpcap.StatsReply {
	return rpcap.StatsReply{
		Received:         uint32(s.Matched + s.Dropped),
		InterfaceDropped: uint32(s.InterfaceDropped),
		KernelDropped:    uint32(s.Dropped),
		Sent:             uint32(s.Sent),
	}
}

// Add adds o to s.
func (s *Stats) Add(o Stats) {
	s.Seen += o.Seen
	s.Excluded += o.Excluded
	s.Filtered += o.Filtered
	s.Dropped += o.Dropped
	s.Matched += o.Matched
	s.Sent += o.Sent
	s.Undelivered += o.Undelivered
	s.InterfaceDropped += o.InterfaceDropped
	s.Bytes += o.Bytes
}

// read collects the counters of kernel and pump. ended tells that nothing
// moves any more, so that what was matched and not sent is undelivered.
func (p *Pump) read(ended bool) (Stats, error) {
	// What the pump has done is read before what the kernel has handed out,
	// so that a frame in between looks like one still in the ring.
	s := Stats{Bytes: p.bytes.Load()}
	s.Sent = p.sent.Load()
	refused := p.refused.Load()
	counts, err := p.in.Filter.Counts()
	if err != nil {
		return Stats{}, err
	}
	ring, err := p.in.Source.Stats()
	if err != nil {
		return Stats{}, err
	}
	// Before Start and after the end the filter sees frames, too, but they
	// don't belong to the capture.
	s.Seen = counts.Seen - counts.Inactive
	s.Excluded = counts.Excluded - counts.Inactive
	// What the client's program refuses in the kernel can't be counted there.
	met := s.Seen - s.Excluded
	s.Filtered = met - min(met, ring.Packets) + refused
	s.Dropped = ring.Drops
	s.Matched = ring.Packets - min(ring.Packets, ring.Drops+refused)
	if ended {
		s.Undelivered = s.Matched - min(s.Matched, s.Sent)
	}
	if p.in.InterfaceDropped != nil {
		s.InterfaceDropped = p.in.InterfaceDropped()
	}
	return s, nil
}
