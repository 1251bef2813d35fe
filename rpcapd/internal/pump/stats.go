package pump

import (
	"capstan/pkg/capture"
	"capstan/pkg/rpcap"
)

// Stats is a snapshot of one capture's counters.
type Stats struct {
	capture.Stats
	Bytes uint64 // of frames and their PACKET headers, handed to the data connection
	// Oversized and SendFailed are parts of Undelivered: frames that don't fit
	// into a datagram, and datagrams that the network refused.
	Oversized, SendFailed uint64
	// OtherFlows is the part of Excluded of connections that are not captured
	// because only one in so many is.
	OtherFlows uint64
	// Interpreted counts the frames that the client's filter was run on here
	// and not in the kernel, accepted or not.
	Interpreted uint64
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
// calls received are the frames that passed the filter, those included that were
// dropped or left out by sampling.
func (s *Stats) Reply() rpcap.StatsReply {
	return rpcap.StatsReply{
		Received:         uint32(s.Matched + s.Dropped + s.Sampled),
		InterfaceDropped: uint32(s.InterfaceDropped),
		KernelDropped:    uint32(s.Dropped),
		Sent:             uint32(s.Sent),
		OtherFlows:       uint32(s.OtherFlows),
	}
}

// Add adds o to s.
func (s *Stats) Add(o Stats) {
	s.Seen += o.Seen
	s.Excluded += o.Excluded
	s.Filtered += o.Filtered
	s.Sampled += o.Sampled
	s.Dropped += o.Dropped
	s.Matched += o.Matched
	s.Sent += o.Sent
	s.Undelivered += o.Undelivered
	s.InterfaceDropped += o.InterfaceDropped
	s.Bytes += o.Bytes
	s.Oversized += o.Oversized
	s.SendFailed += o.SendFailed
	s.Interpreted += o.Interpreted
	s.OtherFlows += o.OtherFlows
}

// read collects the counters of kernel and pump. ended tells that nothing
// moves any more, so that what was matched and not sent is undelivered.
func (p *Pump) read(ended bool) (Stats, error) {
	// What the pump has done is read before what the kernel has handed out,
	// so that a frame in between looks like one still in the ring.
	s := Stats{Bytes: p.bytes.Load()}
	s.Sent = p.sent.Load()
	s.Oversized, s.SendFailed = p.oversized.Load(), p.failed.Load()
	s.Undelivered = s.Oversized + s.SendFailed
	s.Sampled = p.sampled.Load()
	s.Interpreted = p.interpreted.Load()
	unwanted, refused := p.unwanted.Load(), p.refused.Load()
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
	if counts.Partial {
		s.Seen = ring.Packets
	}
	s.Excluded = counts.Excluded - counts.Inactive
	s.OtherFlows = counts.OtherFlows
	// What the client's program refuses in the kernel can't be counted there.
	met := s.Seen - s.Excluded
	s.Excluded += unwanted
	s.Filtered = met - min(met, ring.Packets+counts.Sampled) + refused
	s.Dropped = ring.Drops
	s.Matched = ring.Packets - min(ring.Packets, ring.Drops+unwanted+refused+s.Sampled)
	s.Sampled += counts.Sampled
	if ended {
		s.Undelivered = s.Matched - min(s.Matched, s.Sent)
	}
	if p.in.InterfaceDropped != nil {
		s.InterfaceDropped = p.in.InterfaceDropped()
	}
	return s, nil
}
