package reassembly

import "capstan/pkg/packet"

// usual takes what every connection has, two SYNs and two FINs, where each is in
// order, and reports whether s is one of them. It does what irregular would do,
// and the tests hold it to that, for those who see many short connections: to
// have both ends wait for what is not going to come takes irregular most of its
// time.
func (a *Assembler) usual(c *connection, s *packet.Segment, time int64) bool {
	if s.Missing > 0 {
		return false
	}
	if c == nil {
		if s.Flags&control != packet.FlagSYN || len(s.Payload) > 0 {
			return false
		}
		a.opens(s, time)
		return true
	}
	if a.silent(c) {
		return false
	}
	switch s.Flags & control {
	case packet.FlagSYN | packet.FlagACK:
		return len(s.Payload) == 0 && a.answers(c, s, time)
	case packet.FlagFIN | packet.FlagACK:
		return a.ends(c, s, time)
	}
	return false
}

// opens takes a SYN without data of a tuple that is not known.
func (a *Assembler) opens(s *packet.Segment, time int64) {
	c := a.admit(s, time)
	c.ClientKnown, c.Client = true, s.Dir&1
	a.start(c, &c.half[s.Dir&1], s, time)
}

// answers takes a SYN-ACK without data if it is the first segment of its
// direction, to the SYN that is the last of the other.
func (a *Assembler) answers(c *connection, s *packet.Segment, time int64) bool {
	h, o := &c.half[s.Dir&1], &c.half[s.Dir&1^1]
	if h.synced || !o.plain || s.Ack != o.next || !c.InitialSeqKnown[o.dir] || c.established || h.pending != nil || o.pending != nil {
		return false
	}
	a.touch(c)
	c.lastTime = time
	a.start(c, h, s, time)
	return true
}

// start takes a SYN as the first segment of h.
func (a *Assembler) start(c *connection, h *half, s *packet.Segment, time int64) {
	c.InitialSeq[h.dir], c.InitialSeqKnown[h.dir] = s.Seq, true
	c.Unseen.set(h.dir, false)
	h.begin(s.Seq + 1)
	a.history.note(h, s, time)
}

// ends takes a FIN, with data or without, if it is in order: the first one of a
// connection of which nothing is pending, or the second one, which closes it.
func (a *Assembler) ends(c *connection, s *packet.Segment, time int64) bool {
	h, o := &c.half[s.Dir&1], &c.half[s.Dir&1^1]
	if !h.plain || !o.plain || s.Seq != h.next || int32(s.Ack-o.next) > 0 || !c.established || h.pending != nil {
		return false
	}
	a.touch(c)
	c.lastTime = time
	a.history.note(h, s, time)
	if len(s.Payload) > 0 {
		a.deliver(c, h, s.Payload, time, o.acked(s.Ack))
	}
	if o.over() {
		if c.Handler != nil {
			c.Handler.End(h.dir, time)
		}
		a.dispose(c, max(time, o.finTime), CloseFIN, CloseFIN)
		return true
	}
	a.lend(c, h)
	h.finSeen, h.finOff, h.finTime = true, h.offset, time
	a.reachEnd(h)
	return true
}
