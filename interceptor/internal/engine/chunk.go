package engine

import (
	"capstan/pkg/packet"
	"capstan/pkg/prefetch"
	"capstan/pkg/reassembly"
)

// chunkFrames is how many frames of a round a shard decodes at once: enough that to take
// them costs little, few enough that no shard waits long for another's.
const chunkFrames = 128

// chunk is some frames of a round, one behind the other, and what they hold. The shard
// that is the first to have time for it decodes it, for all.
type chunk struct {
	frames    []timed
	before    int // so many frames of the round come before them
	found     []found
	fragments []fragment
	shares    [][]mine // by shard, in order
	outcomes  [packet.NumOutcomes]uint64
	decoder   packet.Decoder
}

// mine is something of a shard.
type mine struct {
	found int16 // number in found; the complement of that in fragments
	frame int16 // of the chunk
}

// found is a segment with what belongs to it. It goes from the cache of one processor to
// that of another: 128 bytes are two lines there.
type found struct {
	packet.Segment
	time   int64
	now    int64
	number uint64
}

// at returns the instant. What is due at it is an event.
func (s *found) at() reassembly.Instant { return reassembly.Instant{Now: s.now, Number: s.number} }

// fragment is one of a datagram, of which only all together tell whose it is. So each is
// in the shares of all shards.
type fragment struct {
	piece packet.Fragment
	frame int // of the round
	whole found
	shard int // whose the segment in the whole is that it completes, or nobodys
}

const nobodys = -1

// shardOf returns whose a segment is, of so many shards: that of rpcapd's that has it
// where the kernel divides.
func shardOf(s *packet.Segment, shards int) int { return int(s.Key.Hash() % uint64(shards)) }

// What decode has the processor load ahead of it: so many bytes, which mostly hold all
// headers, of the frame so many places farther.
const (
	headersAhead = 16
	headersLen   = 128
)

// decode finds the segments of the frames, and whose they are. It lets go of the frames:
// only what is found has their data.
func (c *chunk) decode(cfg packet.Config) {
	c.decoder = *packet.NewDecoder(cfg)
	if cap(c.found) <= len(c.frames) {
		c.found = make([]found, 0, chunkFrames+1)
	}
	spare := c.found[:cap(c.found)]
	n := 0
	for i := range c.frames {
		if next := c.frames[i:]; len(next) > headersAhead {
			data := next[headersAhead].Data
			prefetch.Bytes(data[:min(len(data), headersLen)])
		}
		f, s := &c.frames[i], &spare[n]
		s.time, s.now, s.number = f.Timestamp, f.now, f.number
		outcome := c.decoder.Decode(&f.Frame, &s.Segment)
		c.outcomes[outcome]++
		switch outcome {
		case packet.OutcomeTCP:
			share := &c.shares[shardOf(&s.Segment, len(c.shares))]
			*share = append(*share, mine{int16(n), int16(i)})
			n++
		case packet.OutcomeFragment:
			for k := range c.shares {
				c.shares[k] = append(c.shares[k], mine{^int16(len(c.fragments)), int16(i)})
			}
			c.fragments = append(c.fragments, fragment{piece: c.decoder.Fragment, frame: c.before + i, whole: *s, shard: nobodys})
		}
		f.Data = nil
	}
	spare[n] = found{}
	c.found = spare[:n]
	c.decoder.Fragment.Payload = nil
}

// reset makes a chunk ready for the next use. Who took a segment let go of its payload.
func (c *chunk) reset() {
	clear(c.fragments)
	c.frames, c.found, c.fragments = nil, c.found[:0], c.fragments[:0]
	for i := range c.shares {
		c.shares[i] = c.shares[i][:0]
	}
	clear(c.outcomes[:])
}
