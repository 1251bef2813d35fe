package reassembly

import "capstan/pkg/packet"

// maxReordered bounds the bytes that may overtake the SYN they follow, or be
// overtaken by a RST: a first flight.
const maxReordered = 64 << 10

// syn takes what the SYN bit of s says about c. It returns the connection that
// s belongs to, which is a new one if s replaces c, or nil if s is to be
// ignored.
//
// The roles stay with the first SYN, whatever follows: in a split handshake
// (RFC 793 figure 8, or a server that answers with a bare ACK and its own SYN)
// and in a simultaneous open both ends send one.
func (a *Assembler) syn(c *connection, s *packet.Segment, time int64) *connection {
	h := &c.half[s.Dir&1]
	o := h.peer()
	ack := s.Flags.Has(packet.FlagACK)
	known := c.InitialSeqKnown[h.dir]
	if known && c.InitialSeq[h.dir] == s.Seq {
		return c // sent again, or captured twice
	}
	if ack && c.InitialSeqKnown[o.dir] {
		p := o.pos(s.Ack)
		answers := p >= 0 && p <= o.tail()
		switch {
		case known && answers, !known && !answers && !c.established:
			// A second answer with another number, or one to another SYN: the
			// client goes on with the first, or refuses it, unless it tells.
			if known && !c.established {
				h.rival, h.rivalled, h.plain = s.Seq, true, false
			} else if p == -1 && o.virgin() {
				o.uncounted, o.plain = true, false
			}
			a.stats.IgnoredSYN++
			a.drop(DropStray, len(s.Payload))
			return nil
		case !answers:
			return a.replace(c, s, time)
		}
	} else if known {
		return a.reopen(c, h, s, time)
	}
	if !a.adopt(c, h, s, time) {
		return a.reopen(c, h, s, time)
	}
	o.uncounted = false
	c.InitialSeq[h.dir], c.InitialSeqKnown[h.dir] = s.Seq, true
	if !c.ClientKnown {
		c.assign(h, s)
	}
	a.land(h)
	return c
}

// assign gives the ends their roles by s, the first SYN seen, which h has sent.
func (c *connection) assign(h *half, s *packet.Segment) {
	c.ClientKnown, c.Client = true, h.dir
	if !s.Flags.Has(packet.FlagACK) {
		return
	}
	o := h.peer()
	c.Client, c.answered = o.dir, true
	if o.synced && o.offset == 0 && !o.ended && o.next-s.Ack < maxReordered {
		o.shift(s.Ack) // what told where it stands was of later
	}
}

// choose takes what s acknowledges, its sender's first acknowledgement, for the
// choice between two answers to its SYN: a server that has forgotten the first,
// or another one behind the same address, sends a second.
func (c *connection) choose(s *packet.Segment) {
	o := c.half[s.Dir&1].peer()
	if !o.rivalled || s.Flags.Has(packet.FlagSYN) {
		return
	}
	o.rivalled = false
	if s.Ack == o.rival+1 && o.virgin() {
		o.sync(s.Ack)
		c.InitialSeq[o.dir] = o.rival
	}
}

// recount takes the first data of h, whose SYN was answered by its own number. That is none
// that TCP sends (RFC 9293 §3.10.7.3), but some generators of captures have no number for a
// SYN; where the data begin at that, too, they do.
func (h *half) recount(seq uint32) {
	h.uncounted = false
	if seq == h.conn.InitialSeq[h.dir] && h.virgin() {
		h.shift(seq)
	}
}

// challenged reports whether s is the answer to a SYN by an end that still has
// an earlier connection on this tuple (RFC 9293 §3.10.7.4): it acknowledges
// what it had received of that one. The client resets that and sends its SYN
// again.
func (c *connection) challenged(s *packet.Segment) bool {
	o := c.half[s.Dir&1].peer()
	if c.established || s.Flags.Has(packet.FlagSYN) || len(s.Payload)+s.Missing > 0 ||
		!c.InitialSeqKnown[o.dir] || c.InitialSeqKnown[s.Dir&1] || !o.virgin() {
		return false
	}
	p := o.pos(s.Ack)
	return p < 0 || p > maxReordered
}

// adopt takes the number of s, the first SYN seen of h, as its initial sequence
// number. It returns false if it does not go with what is known of c.
func (a *Assembler) adopt(c *connection, h *half, s *packet.Segment, time int64) bool {
	base := h.next - uint32(h.offset)
	if h.ended {
		base--
	}
	first := s.Seq + 1
	overtaken := base-first < maxReordered // by what is known, if that is of this connection
	answer := c.InitialSeqKnown[h.dir.Reverse()] && s.Flags.Has(packet.FlagACK)
	switch {
	case !h.synced:
		h.sync(first)
	case base == first:
		c.Midstream = false // its segments overtook the handshake
	case h.virgin() && c.InitialSeqKnown[h.dir.Reverse()] && !c.answered:
		h.sync(first) // of a split handshake; an earlier ACK told otherwise
	case h.afloat && !overtaken:
		a.refuse(h, DropStray) // of an earlier connection
		h.sync(first)
	case !overtaken || !answer && !h.afloat && (!c.Midstream || time-c.Start >= int64(a.cfg.HoleTimeout)):
		return false
	case h.offset == 0 && !h.ended:
		h.shift(first)
	default:
		// What came before the first byte that was handed on stays dropped.
	}
	return true
}

// replace closes c because s starts another connection on the same tuple, and
// returns that one.
func (a *Assembler) replace(c *connection, s *packet.Segment, time int64) *connection {
	a.close(c, time, CloseReplaced)
	c = a.admit(s, time)
	a.attach(c)
	return a.syn(c, s, time)
}

// hold keeps the payload of a SYN (TCP Fast Open, RFC 7413) until the peer's
// next ACK tells whether it was accepted; if not, the client sends it again.
func (a *Assembler) hold(h *half, in *arrival) {
	switch n := len(in.payload); {
	case n == 0:
	case h.held || h.offset > 0:
		a.stats.DuplicateBytes += uint64(n)
	case !h.virgin():
		a.drop(DropSYN, n)
	default:
		// What a snap length cut of it shows up as a hole once it is accepted.
		in.missing = 0
		a.enqueue(h, 0, in)
		h.held = true
	}
}

// judge decides over the payload of a SYN: it was accepted if the peer has
// acknowledged, or the sender goes on, at p.
func (a *Assembler) judge(h *half, p int64) {
	h.held = false
	if p >= h.pieces[0].end() {
		a.drain(h)
		return
	}
	a.refuse(h, DropSYN)
}

// refuse drops all that waits in h.
func (a *Assembler) refuse(h *half, r DropReason) {
	for i := range h.pieces {
		if p := &h.pieces[i]; p.buf != nil {
			a.stats.QueuedBytes -= p.n
			a.drop(r, p.n)
		}
	}
	a.dequeue(h, len(h.pieces))
	h.held, h.afloat, h.finSeen = false, false, false
}

// shift makes seq, which is not beyond what is known, the sequence number of
// stream offset 0. Nothing of h was handed on.
func (h *half) shift(seq uint32) {
	n := int64(h.next - seq)
	h.next = seq
	for i := range h.pieces {
		h.pieces[i].off += n
	}
	for _, off := range []*int64{&h.finOff, &h.ackOff, &h.sentOff} {
		if *off > 0 {
			*off += n
		}
	}
	if h.urgent >= 0 {
		h.urgent += n
	}
}

// land takes offset 0 of h for the beginning of its stream.
func (a *Assembler) land(h *half) {
	h.afloat = false
	a.drain(h)
}
