package http1

import (
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// beginRequest takes the request line, which is in reqLine.
func (h *half) beginRequest(line []byte) {
	h.c.cfg.Stats.Requests++
	x := &roundTrip{start: h.msgOffset, acked: h.msgAcked, epoch: h.epoch, follows: h.follows}
	x.rec.Request = &x.req
	x.req.FirstByteUnixNs = uint64(h.msgTime)
	switch string(line[:h.reqLine.methodEnd]) {
	case "HEAD":
		x.method = methodHead
	case "CONNECT":
		x.method = methodConnect
	}
	if h.reqLine.malformed {
		x.flaws.Add(capstanv1.Flaw_FLAW_MALFORMED)
	}
	h.x = x
	h.follows = true
	h.c.pairing.addRequest(h.c, x)
}

// endRequestHead goes on behind the head of a request.
func (h *half) endRequestHead() {
	version := h.x.req.Version
	http10 := version == "HTTP/1.0"
	kind := h.frame.request(http10)
	h.x.asksClose = h.frame.close || http10 && !h.frame.keepAlive
	if h.frame.malformed {
		h.x.flaws.Add(capstanv1.Flaw_FLAW_MALFORMED)
	}
	h.startBody(kind)
}

// beginResponse takes the status line, which is in status. The first one of an
// exchange, interim or not, is what is paired.
func (h *half) beginResponse() {
	c := h.c
	if c.group == nil {
		c.group = c.pairing.pair(c, h)
	}
	h.a = c.group.answer
	if h.status.malformed {
		h.a.flaws.Add(capstanv1.Flaw_FLAW_MALFORMED)
	}
	h.interim = h.status.status < 200 && h.status.status != 101
	if h.interim {
		c.cfg.Stats.Interim++
		return
	}
	c.cfg.Stats.Responses++
	h.a.final = true
	h.a.msg.Status = uint32(h.status.status)
	h.a.msg.FirstByteUnixNs = uint64(h.msgTime)
}

// endInterim goes on behind an interim response (RFC 9110 §15.2): the exchange
// stays open.
func (h *half) endInterim() {
	if s := &h.a.msg.InterimStatuses; len(*s) < maxInterim {
		*s = append(*s, uint32(h.status.status))
	}
	h.interim = false
	h.give(stateStart)
}

// endResponseHead goes on behind the head of a final response.
func (h *half) endResponseHead() {
	x, status := h.c.group, int(h.a.msg.Status)
	http10 := h.a.msg.Version == "HTTP/1.0"
	if status == 101 || x.method == methodConnect && status >= 200 && status < 300 {
		next := h.c.upgrade(x)
		h.endMessage(true)
		h.c.tunnel()
		h.c.next = next
		return
	}
	kind := h.frame.response(status, x.method == methodHead, http10)
	h.a.closes = h.frame.close || kind == bodyUntilClose || http10 && !h.frame.keepAlive
	if h.frame.malformed {
		h.a.flaws.Add(capstanv1.Flaw_FLAW_MALFORMED)
	}
	if x.method == methodConnect {
		h.c.clientHalf().refused()
	}
	h.startBody(kind)
}

// upgrade asks who takes what follows x, or returns nil.
func (c *Conn) upgrade(x *roundTrip) reassembly.Handler {
	if x.answer.msg.Status != 101 || c.cfg.Upgrade == nil {
		return nil
	}
	return c.cfg.Upgrade(&Upgrade{Client: c.client, Identity: c.identity(), Request: x.rec.Request, Response: &x.answer.msg})
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

// tunnel leaves HTTP in both directions.
func (c *Conn) tunnel() {
	for d := range c.half {
		h := &c.half[d]
		if h.state == stateDead {
			continue
		}
		if h.state == stateHead && !h.lined {
			c.cfg.Stats.HeadBytes -= uint64(len(h.buf))
			c.cfg.Stats.TunnelledBytes += uint64(len(h.buf))
		}
		h.abort(capstanv1.Flaw_FLAW_MALFORMED)
		h.give(stateTunnel)
	}
}

// endMessage ends the message in progress, if there is one: whole tells that
// it ended where it says.
func (h *half) endMessage(whole bool) {
	x := h.x
	if !h.request {
		x = h.c.group
	}
	h.x, h.a, h.interim, h.remaining = nil, nil, false, 0
	h.give(stateStart)
	switch {
	case x == nil:
	case h.request:
		h.endRequest(x, whole)
	default:
		h.endResponse(x, whole)
	}
}

func (h *half) endRequest(x *roundTrip, whole bool) {
	x.req.LastByteUnixNs = uint64(max(h.msgLast, h.msgTime))
	x.reqDone, x.reqWhole, x.end = true, whole, h.offset
	if !whole && x.call != nil {
		x.call.Request.Lost()
	}
	if x.method == methodConnect && x.answer == nil && !x.alone {
		h.state = stateHold
	}
	h.c.pairing.endRequest(h.c, x)
}

func (h *half) endResponse(x *roundTrip, whole bool) {
	a := x.answer
	h.c.group = nil
	a.msg.LastByteUnixNs = uint64(max(h.msgLast, h.msgTime))
	a.done, a.whole, a.end, a.latest = true, whole, h.offset, h.acked
	if !whole && a.call != nil {
		a.call.Response.Lost()
	}
	h.c.pairing.endResponse(h.c, x)
}
