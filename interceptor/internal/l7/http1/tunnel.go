package http1

import (
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// maxHoldLen is how much is kept of what a client sends behind CONNECT before it
// knows what becomes of it.
const maxHoldLen = 16 << 10

// upgrade asks who takes what follows x, or returns nil.
func (c *Conn) upgrade(x *roundTrip) reassembly.Handler {
	if c.shared.upgrader == nil {
		return nil
	}
	x.req.Body = &x.reqBody // as in the record: what follows may be its answer
	return c.shared.upgrader.Upgrade(&Upgrade{Conn: c.conn, Tunnels: c.tunnels, Client: c.client, Identity: c.identity(), Request: x.rec.Request, Response: &x.answer.msg, Flaws: x.flaws})
}

// tunnel leaves HTTP in both directions.
func (c *Conn) tunnel() {
	for d := range c.half {
		h := &c.half[d]
		if h.state == stateDead {
			continue
		}
		early, held := h.early(), h.state == stateHold
		if early == nil { // what is in progress is HTTP
			h.abort(capstanv1.Flaw_FLAW_MALFORMED)
		}
		if c.next != nil {
			if len(early) > 0 {
				c.next.Data(h.dir, reassembly.Chunk{Time: h.msgTime, Offset: h.msgOffset, Acked: h.msgAcked, Bytes: early})
			}
			if lost := h.offset - h.msgOffset - int64(len(early)); held && lost > 0 {
				c.next.Gap(h.dir, reassembly.Gap{Time: h.time, Offset: h.offset - lost, Acked: -1, Len: lost})
			}
		}
		h.give(stateTunnel)
	}
}

// early returns what came of the new protocol before it was known to be one.
func (h *half) early() []byte {
	switch {
	case h.state == stateHold:
		return h.buf
	case h.state == stateHead && !h.lined:
		h.c.shared.Stats.HeadBytes -= uint64(len(h.buf))
		h.c.shared.Stats.TunnelledBytes += uint64(len(h.buf))
		return h.buf
	}
	return nil
}

// tunnelled takes bytes that are no HTTP, or may be none.
func (h *half) tunnelled(b []byte) int {
	h.c.shared.Stats.TunnelledBytes += uint64(len(b))
	h.follows = false
	switch {
	case h.state == stateHold && h.c.shared.upgrader != nil && int64(len(h.buf)) == h.offset-h.msgOffset:
		// Copied because the answer to CONNECT is still to come.
		h.buf = append(h.buf, b[:min(len(b), maxHoldLen-len(h.buf))]...)
	case h.state == stateTunnel && h.c.next != nil:
		h.c.next.Data(h.dir, reassembly.Chunk{Time: h.time, Offset: h.offset, Acked: h.acked, Bytes: b})
	}
	return len(b)
}

// refused goes on with HTTP in the client's half: its CONNECT failed.
func (h *half) refused() {
	if h.state != stateHold {
		return
	}
	h.give(stateStart)
	if !h.follows {
		// Bytes have passed that may have been a request.
		h.give(stateResync)
		h.epoch++
	}
}
