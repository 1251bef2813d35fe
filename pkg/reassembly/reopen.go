package reassembly

import "capstan/pkg/packet"

// reopening is a SYN that does not go with what is known of the connection on its tuple.
type reopening struct {
	seq  uint32
	time int64
}

// reopen takes a SYN, of h, that does not go with what is known of c. Its answer, or
// data with it, shows that it starts another connection, and so is that which it returns.
// A SYN alone may be forged, or stray: it is remembered until something follows it.
func (a *Assembler) reopen(c *connection, h *half, s *packet.Segment, time int64) *connection {
	if s.Flags&control != packet.FlagSYN || len(s.Payload)+s.Missing > 0 {
		return a.replace(c, s, time)
	}
	a.touch(c)
	a.history.note(h, s, time)
	h.reopening, h.reopens, h.plain = reopening{s.Seq, time}, true, false
	return nil
}

// reopened returns the connection that s belongs to: another than c if s goes with a SYN
// that was remembered.
func (a *Assembler) reopened(c *connection, s *packet.Segment, time int64) *connection {
	for d := range c.half {
		h := &c.half[d]
		if !h.reopens {
			continue
		}
		own := h.dir == s.Dir&1
		switch {
		case own && s.Flags.Has(packet.FlagSYN):
		case own && h.follows(s.Seq), !own && s.Flags.Has(packet.FlagACK) && h.follows(s.Ack):
			return a.succeed(c, h, time)
		case own && s.Seq == h.next:
			h.reopens = false // c goes on
		}
	}
	return c
}

// follows reports whether number n, of h's bytes, is rather one behind the SYN that was
// remembered than one of the connection.
func (h *half) follows(n uint32) bool {
	behind, off := n-(h.reopening.seq+1), int32(n-h.next)
	return behind < maxReordered && behind < uint32(max(off, -off))
}

// succeed closes c and returns the connection that the SYN remembered in h has started.
func (a *Assembler) succeed(c *connection, h *half, time int64) *connection {
	key, d, syn := c.Key, h.dir, h.reopening
	a.close(c, time, CloseReplaced)
	c = a.admit(&packet.Segment{Key: key, Flags: packet.FlagSYN}, syn.time)
	a.attach(c)
	c.ClientKnown, c.Client = true, d
	c.InitialSeq[d], c.InitialSeqKnown[d] = syn.seq, true
	c.Unseen.set(d, false)
	c.half[d].sync(syn.seq + 1)
	return c
}
