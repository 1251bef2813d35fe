package http2

import (
	"math"
	"slices"

	"capstan/interceptor/internal/l7/hpack"
)

const (
	// leastBlock is how many bytes a header block takes at the least that says something.
	leastBlock = frameHeaderLen + 1
	// maxWaiting bounds the streams that have to show that nothing of theirs was lost.
	maxWaiting = 64
)

// past is HPACK's table as a half knew it when it lost its place. It holds again as soon
// as no header block can have been among what is missing; the package comment tells why.
type past struct {
	table   hpack.Window
	from    int64     // of the first frame that was not read
	waiting []waiting // streams that have to show it
	next    uint32    // the stream that the client has to open next, 0 once it did
	read    bool      // blocks came meanwhile
	doubted bool      // a body may have imitated what shows it
	pushOff bool      // as in Conn
}

// losses is what a half keeps because it lost its place: nothing while it never did.
type losses struct {
	past    *past
	earlier *earlier
}

// size returns how many bytes the tables count for.
func (l *losses) size() (n int64) {
	if l == nil {
		return 0
	}
	if l.past != nil {
		n += l.past.table.Size()
	}
	if l.earlier != nil {
		n += l.earlier.table.Size()
	}
	return n
}

func (h *half) past() *past {
	if h.losses == nil {
		return nil
	}
	return h.losses.past
}

func (h *half) earlier() *earlier {
	if h.losses == nil {
		return nil
	}
	return h.losses.earlier
}

func (h *half) setPast(p *past) { h.setLosses(losses{p, h.earlier()}) }

func (h *half) setEarlier(e *earlier) { h.setLosses(losses{h.past(), e}) }

func (h *half) setLosses(l losses) {
	h.c.shared.Stats.HeldTables += int(l.size() - h.losses.size())
	switch {
	case l == losses{}:
		h.losses = nil
	case h.losses == nil:
		h.losses = &l
	default:
		*h.losses = l
	}
}

// waiting is a stream of which a header block may be missing, unless it sends another frame.
type waiting struct {
	id    uint32
	head  bool // and that has to be the header section of its response
	shown bool // it has
	sure  bool // and nothing imitates that
}

// lostFrom gives up the place, which was known up to the frame that starts at from.
func (h *half) lostFrom(from int64) {
	p := h.past()
	switch {
	case h.inBlock, !h.c.rolesKnown:
		p = nil
	case p == nil || p.read:
		p = nil
		if h.hpack.Len() > 0 {
			p = &past{table: h.hpack.Window(), from: from, pushOff: h.c.pushOff}
		}
	case len(p.waiting) == 0 && p.next == 0:
		p.from = from // nothing was missing before
	}
	h.lost()
	h.setPast(p)
	if e := h.earlier(); e != nil {
		e.from = from
	}
}

// weigh tells what has to be shown, now that frames were found at place.
func (h *half) weigh(place int64) {
	p := h.past()
	if p == nil {
		return
	}
	p.waiting, p.next = p.waiting[:0], 0
	missing := place - p.from
	if h.dir == h.c.client && missing < frameHeaderLen+settingLen {
		h.c.pushOff = p.pushOff
	}
	switch {
	case missing < leastBlock:
		p.doubted = true
	case h.dir == h.c.client && !h.c.awaitRequests(p), h.dir != h.c.client && !h.c.awaitResponses(p):
		h.setPast(nil)
	}
}

// awaitRequests tells what shows that the client sent no header block: it opens streams in
// the order of their numbers (RFC 9113 §5.1.1), and trailers, which calls of gRPC have none
// of, end a request. It returns false if nothing does.
func (c *Conn) awaitRequests(p *past) bool {
	p.next = c.nextOpened()
	for s := c.oldest; s != nil; s = s.newer {
		if s.id%2 == 1 && !s.request.ended && !s.isCall() && !p.await(waiting{id: s.id}) {
			return false
		}
	}
	return !c.openBodies
}

// awaitResponses tells what shows that the server sent no header block: of each response
// that is not over another frame, since trailers end it. Before its header section interim
// ones may come, unless it is that of a call of gRPC, and anywhere promises, unless the
// client refuses them or all streams are such calls.
func (c *Conn) awaitResponses(p *past) bool {
	server, client := &c.half[c.client.Reverse()], &c.half[c.client]
	if !c.allOpened || client.state == stateResync || server.acked < 0 || server.acked > client.offset {
		return false // it may answer what was not seen
	}
	known, calls := c.over, !c.notCalls
	for s := c.oldest; s != nil; s = s.newer {
		known += s.id % 2
		calls = calls && s.isCall()
		if s.response.ended {
			continue
		}
		if !s.response.headers && !s.isCall() || !p.await(waiting{id: s.id, head: !s.response.headers}) {
			return false
		}
	}
	return known == (c.lastID+1)/2 && (calls || c.pushOff)
}

func (p *past) await(w waiting) bool {
	p.waiting = append(p.waiting, w)
	return len(p.waiting) <= maxWaiting
}

// showsData takes the start of a frame of DATA. An empty one shows nothing: it may end a
// stream again (see dataStream).
func (h *half) showsData(id uint32) {
	if p := h.past(); p != nil && h.contentLeft() > 0 && !h.shows(id, false) {
		h.setPast(nil)
	}
}

// showsBlock takes a header block before it is read: the last moment to know the table.
func (h *half) showsBlock(b *block, data []byte) {
	p := h.past()
	if p == nil {
		return
	}
	opens := !b.endStream || hpack.StartsPseudo(data) // trailers don't
	switch {
	case b.promise, !h.shows(b.stream, opens):
		h.setPast(nil)
	case p.next > 0 || slices.ContainsFunc(p.waiting, func(w waiting) bool { return !w.shown }):
		p.read, p.doubted = true, p.doubted || h.guessed
	default:
		before := h.hpack.Size()
		h.hpack.Follow(p.table, p.doubted || h.unsure(), h.c.cfg.Headers)
		h.tabled(before)
		h.setLosses(losses{})
	}
}

// shows takes a frame of stream id. opens tells that it is a header section that is no
// trailers. It returns false if one is missing.
func (h *half) shows(id uint32, opens bool) bool {
	p := h.past()
	if p.next > 0 && id >= p.next {
		if id > p.next || !opens {
			return false
		}
		p.next = 0
	}
	for i := range p.waiting {
		w := &p.waiting[i]
		if w.id != id {
			continue
		}
		if w.head && !opens {
			return false
		}
		w.head, w.shown, w.sure = false, true, !h.guessed
	}
	return true
}

// unsure reports whether a body may have imitated what shows that nothing is missing.
func (h *half) unsure() bool {
	return h.guessed || h.misled || h.c.half[h.c.client].misled ||
		slices.ContainsFunc(h.past().waiting, func(w waiting) bool { return !w.sure })
}

// nextOpened returns which stream the client opens next, if it leaves none out.
func (c *Conn) nextOpened() uint32 {
	if c.opened == 0 {
		return 1
	}
	return c.opened + 2
}

// noteBlock notes that a header block of stream id came.
func (c *Conn) noteBlock(h *half, id uint32) {
	switch r := c.roleOf(h.dir); {
	case r == roleServer && id > c.cancelledAt && id%2 == 1:
		// It has read what the client had sent before it opened that.
		c.over += uint32(c.cancelled)
		c.cancelled = 0
	case r == roleClient && id > c.opened && id%2 == 1:
		c.openBodies = c.openBodies || id != c.nextOpened()
		c.opened, c.allOpened = id, true
		h.mayMislead()
	}
}

// mayMislead notes that something was told of the streams that a body may have imitated.
func (h *half) mayMislead() { h.misled = h.misled || h.guessed }

// isCall reports whether s is a call of gRPC. Those have no trailers of requests, no interim
// responses and no promises.
func (s *stream) isCall() bool { return s.call != nil && s.call.Plain() }

// leave tells that s is over, or not followed any more.
func (c *Conn) leave(s *stream) {
	for d := range c.half {
		h := &c.half[d]
		if p := h.past(); p != nil && slices.ContainsFunc(p.waiting, func(w waiting) bool { return w.id == s.id && !w.shown }) {
			h.setPast(nil)
		}
	}
	c.notCalls = c.notCalls || !s.isCall()
	switch {
	case s.id%2 == 0:
		return
	case s.response.ended, s.response.reset:
		c.over++
	case s.request.reset && c.allOpened && c.cancelled < math.MaxUint8: // others stay unknown
		c.cancelled++
		c.cancelledAt = c.lastID
	}
	if !s.request.ended && !s.request.reset && !s.isCall() {
		c.openBodies = true
	}
}
