package http1

import (
	"bytes"

	"capstan/interceptor/internal/l7/tls"
	"capstan/interceptor/internal/l7/websocket"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// maxHoldLen is how much is kept of what a client sends behind CONNECT, or of what is no
// HTTP behind a request for an upgrade, before the response is known.
const maxHoldLen = 16 << 10

// upgrade asks who takes what follows x, or returns nil. compressed is for the Upgrader.
func (c *Conn) upgrade(x *roundTrip, compressed bool) reassembly.Handler {
	if c.shared.upgrader == nil {
		return nil
	}
	x.req.Body = &x.reqBody // as in the record: what follows may be its answer
	u := &Upgrade{Conn: c.conn, Tunnels: c.tunnels, Client: c.client, Identity: c.identity(), Request: x.rec.Request, Flaws: x.flaws, Compressed: compressed}
	if x.answer != nil {
		u.Response = &x.answer.msg
		u.ResponseCut, u.Unasked = x.answer.goesOn, x.unasked()
	}
	return c.shared.upgrader.Upgrade(u)
}

// cutSwitch takes a hole in the head of a 101, behind which HTTP is left, wherever in the
// hole that ends. It reports whether there is one.
func (h *half) cutSwitch(g *reassembly.Gap) bool {
	x := h.c.group
	if h.request || h.state != stateHead || !h.lined || x == nil || x.rec.Request == nil || x.answer.msg.Status != 101 {
		return false
	}
	h.partialSection()
	h.a.flaws.Add(capstanv1.Flaw_FLAW_GAP)
	h.a.goesOn = true
	h.leave(x)
	if h.c.next != nil {
		h.c.next.Gap(h.dir, *g)
	}
	return true
}

// leave goes over to what x, whose response ends here, has led to.
func (h *half) leave(x *roundTrip) {
	h.c.next = h.c.upgrade(x, false)
	acked := h.a.acked
	h.endMessage(!h.a.goesOn)
	h.c.tunnel(acked)
}

// entersTunnel reports whether b, which starts a segment of the client, shows that CONNECT
// has made a tunnel though that is missing: then HTTP is left. Nobody says hello for TLS,
// which a server waits for, when he has received just the head of a response, unless he was
// told so by that.
func (h *half) entersTunnel(b []byte) bool {
	c, server := h.c, h.c.serverHalf()
	if !h.request || !c.rolesKnown || len(h.buf) > 0 || !tls.StartsClientHello(b) || server.state != stateUntilClose || server.offset != h.acked {
		return false
	}
	x := c.group
	if x.rec.Request != nil || server.a.msg.Status < 200 || server.a.msg.Status > 299 || server.a.body.Size > 0 {
		return false
	}
	c.next = c.upgrade(x, false)
	server.endMessage(true)
	c.tunnel(-1)
	return true
}

// answerShown reports whether b, which starts a segment of the server, shows together with
// what the client has sent, and is held, that its request was granted though the answer is
// missing: then HTTP is left. The client had received something since, or does not wait in a
// tunnel; both ends say what only belongs there.
func (h *half) answerShown(b []byte) bool {
	c, client := h.c, h.c.clientHalf()
	if h.request || !c.rolesKnown || client.state != stateHold || len(h.buf) > 0 || len(c.pending) != 1 || c.group != nil {
		return false
	}
	x := c.pending[0]
	if !x.reqWhole || client.msgOffset != x.end || h.acked <= x.end {
		return false
	}
	if x.method == methodConnect {
		if !tls.StartsClientHello(client.buf) || !tls.StartsServerHello(b) {
			return false
		}
		c.tunnelMade(false)
		return true
	}
	asked, packed := websocket.LooksLikeFrames(client.buf, true)
	answered, also := websocket.LooksLikeFrames(b, false)
	if !asked || !answered || client.msgAcked <= x.latest || !x.asksForWebSocket() {
		return false
	}
	c.tunnelMade(packed || also)
	return true
}

// answerMissed reports whether the client, which has sent nothing behind CONNECT, has
// received the answer when it sends what comes next, and that is missing.
func (h *half) answerMissed() bool {
	c, server := h.c, h.c.serverHalf()
	if len(c.pending) != 1 || c.group != nil || h.offset != h.msgOffset || server.state != stateResync || server.offset != h.acked {
		return false
	}
	x := c.pending[0]
	return x.method == methodConnect && h.acked > x.latest
}

// tunnelMade goes over to what CONNECT, or a request for an upgrade, has made, the answer to
// which is missing.
func (c *Conn) tunnelMade(compressed bool) {
	c.next = c.upgrade(c.pending[0], compressed)
	x := c.takePending(c, 0)
	x.alone = true
	c.finish(c, x)
	c.tunnel(-1)
}

// tunnel leaves HTTP in both directions, behind an answer whose sender had received so
// much of what the client sent; -1 if that is not known.
func (c *Conn) tunnel(acked int64) {
	c.believe(c) // who asks for this waits for the answer
	for d := range c.half {
		h := &c.half[d]
		early, from := h.early(), h.offset
		switch h.state {
		case stateHold:
			from = h.msgOffset
		case stateResync, stateDead:
			// What came behind the request, before this was told, was passed over.
			if h.request && acked >= 0 {
				from = min(acked, h.offset)
			}
		}
		if early == nil && h.state != stateDead { // what is in progress is HTTP
			h.abort(capstanv1.Flaw_FLAW_MALFORMED)
		}
		if c.next != nil {
			if len(early) > 0 {
				c.next.Data(h.dir, reassembly.Chunk{Time: h.msgTime, Offset: h.msgOffset, Acked: h.msgAcked, Bytes: early})
			}
			if lost := h.offset - from - int64(len(early)); lost > 0 {
				c.next.Gap(h.dir, reassembly.Gap{Time: h.time, Offset: h.offset - lost, Acked: -1, Len: lost})
			}
		}
		if h.state != stateDead {
			h.give(stateTunnel)
		}
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
	case h.state == stateHold && int64(len(h.buf)) == h.offset-h.msgOffset:
		// Copied because the answer is still to come.
		h.buf = append(h.buf, b[:min(len(b), maxHoldLen-len(h.buf))]...)
	case h.state == stateTunnel && h.c.next != nil:
		h.c.next.Data(h.dir, reassembly.Chunk{Time: h.time, Offset: h.offset, Acked: h.acked, Bytes: b})
	}
	return len(b)
}

// hold keeps what is no HTTP behind a request for an upgrade, of which held bytes came in
// earlier segments: its response, which the client has received, may wait behind a hole.
func (h *half) hold(held int) {
	h.c.shared.Stats.HeadBytes -= uint64(held)
	h.c.shared.Stats.TunnelledBytes += uint64(held)
	h.buf = h.buf[:held]
	h.state = stateHold
}

// holdOn takes bytes in stateHold. A request behind one for an upgrade tells that there was
// none, though that was not seen. Behind CONNECT whose answer is missing, HTTP goes on with a
// request, in a tunnel or not, and nobody says hello for TLS but in a tunnel.
func (h *half) holdOn(b []byte, boundary bool) int {
	if !boundary {
		return h.tunnelled(b)
	}
	request, _ := LooksLikeRequest(b, true)
	switch {
	case request && h.c.pairing.upgrading():
		h.unhold()
	case request && h.answerMissed():
		h.give(stateStart)
	case tls.StartsClientHello(b) && h.answerMissed():
		h.c.tunnelMade(false)
	default:
		return h.tunnelled(b)
	}
	return 0
}

// unhold leaves stateHold, in which what has passed may have been a request.
func (h *half) unhold() {
	h.give(stateResync)
	h.epoch++
	h.follows = false
}

// stays goes on with HTTP in the client's half: its CONNECT, or its request for an upgrade,
// failed. What it has sent behind that may have been a request, to the server too: it is looked
// at again, all of it, since it was sent.
func (h *half) stays() {
	if h.state != stateHold {
		return
	}
	var held []byte
	if int64(len(h.buf)) == h.offset-h.msgOffset {
		held = bytes.Clone(h.buf) // whose memory is given back
	}
	if h.follows {
		h.give(stateStart)
		return
	}
	h.unhold()
	if len(held) > 0 {
		h.c.shared.Stats.TunnelledBytes -= uint64(len(held))
		h.data(&reassembly.Chunk{Time: h.msgTime, Offset: h.msgOffset, Acked: h.msgAcked, Bytes: held})
	}
}
