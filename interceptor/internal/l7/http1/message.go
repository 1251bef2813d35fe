package http1

import capstanv1 "capstan/proto/capstan/v1"

// beginRequest takes the request line, which is in reqLine.
func (h *half) beginRequest(line []byte) {
	h.c.shared.Stats.Requests++
	x := h.c.shared.roundTrip()
	x.start, x.acked, x.epoch, x.follows = h.msgOffset, h.msgAcked, h.epoch, h.follows
	x.behind = !h.follows && h.asksBehind()
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
	if !h.follows && !knownMethod(line[:h.reqLine.methodEnd]) {
		x.flaws.Add(capstanv1.Flaw_FLAW_PLACE_GUESSED) // it may have begun in what is missing
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
	h.x.upgrades = h.frame.upgrade
	if h.frame.hosts {
		h.x.flaws.Add(capstanv1.Flaw_FLAW_MALFORMED)
	}
	if h.frame.malformed {
		h.ambiguous()
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
	h.interim = h.status.status >= 100 && h.status.status < 200 && h.status.status != 101
	if h.interim {
		c.shared.Stats.Interim++
		return
	}
	c.shared.Stats.Responses++
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
		if x.unasked() {
			h.a.flaws.Add(capstanv1.Flaw_FLAW_MALFORMED)
		}
		h.leave(x)
		return
	}
	kind := h.frame.response(status, x.method == methodHead, http10)
	h.a.closes = h.frame.close || kind == bodyUntilClose || http10 && !h.frame.keepAlive
	if h.frame.malformed {
		h.ambiguous()
	}
	if x.method == methodConnect || x.upgrades {
		h.c.clientHalf().stays()
	}
	h.startBody(kind)
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
	x.reqDone, x.reqWhole, x.end, x.latest = true, whole, h.offset, h.acked
	if !whole && x.call != nil {
		x.call.Request.Lost()
	}
	if x.method == methodConnect && x.answer == nil && !x.alone {
		h.mark() // what follows may be another protocol
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
	if q := h.c.clientHalf(); q.x == x {
		q.goneOn(a.latest)
	}
}
