package http2

import "capstan/interceptor/internal/l7/hpack"

// block is a header block on its way in: the fragments of HEADERS or
// PUSH_PROMISE and of the CONTINUATION frames behind it.
type block struct {
	inBlock   bool // CONTINUATION must follow
	lostPart  bool // bytes are missing; buf has those before
	cut       bool // it is longer than the limit
	endStream bool
	promise   bool
	stream    uint32
	promised  uint32
	time      int64  // of its first byte
	buf       []byte // fragments of earlier frames and segments
}

// releaseBlock drops the block, and gives its buffer back.
func (h *half) releaseBlock() {
	h.c.shared.Stats.HeldBlocks -= len(h.buf)
	h.c.shared.buffers.give(h.buf)
	h.block = block{}
}

// beginBlock goes on behind the fixed part of HEADERS or PUSH_PROMISE.
func (h *half) beginBlock() {
	promised := h.promised
	h.releaseBlock()
	h.inBlock = true
	h.promise = h.frame.kind == framePushPromise
	h.endStream = !h.promise && h.frame.has(flagEndStream)
	h.block.stream, h.promised, h.block.time = h.frame.stream, promised, h.frameTime
	h.fragment(nil)
}

// fragment takes bytes of the block; left tells what follows in this frame.
func (h *half) fragment(b []byte) {
	last := h.frame.has(flagEndHeaders) && h.contentLeft() == 0
	switch {
	case h.lostPart || h.cut:
	case len(h.buf)+len(b) > h.c.cfg.MaxHeaderBlock:
		h.cut = true
		h.keepBlock(b[:h.c.cfg.MaxHeaderBlock-len(h.buf)])
	case last && len(h.buf) == 0:
		h.wholeBlock(b)
		return
	default:
		h.keepBlock(b)
	}
	if last {
		h.wholeBlock(h.buf)
	}
}

// keepBlock copies b because the block ends in another segment.
func (h *half) keepBlock(b []byte) {
	if len(b) > 0 {
		h.buf = h.c.shared.buffers.append(h.buf, b, 0)
		h.c.shared.Stats.HeldBlocks += len(b)
	}
}

// loseBlock tells that a part of the block is missing.
func (h *half) loseBlock() {
	if !h.inBlock { // the fixed part of its first frame is missing too
		h.beginLostBlock()
	}
	h.lostPart = true
	if h.frame.has(flagEndHeaders) && h.contentLeft() == 0 {
		h.wholeBlock(nil)
	}
}

func (h *half) beginLostBlock() {
	h.releaseBlock()
	h.inBlock, h.promise = true, h.frame.kind == framePushPromise
	h.endStream = h.frame.kind == frameHeaders && h.frame.has(flagEndStream)
	h.block.stream, h.block.time = h.frame.stream, h.frameTime
}

// abandonBlock drops a block that ends before its end.
func (h *half) abandonBlock() {
	if h.inBlock {
		h.c.shared.Stats.LostBlocks++
		h.forget()
	}
	h.releaseBlock()
}

// forget tells that a part of a block was lost.
func (h *half) forget() {
	if h.c.cfg.InferFields {
		h.setEarlier(h.earlier().next(h))
	}
	defer h.tabled(h.hpack.Size())
	h.hpack.Forget()
	h.setPast(nil)
}

// tabled has Stats tell what HPACK's table holds, which was before.
func (h *half) tabled(before int64) { h.c.shared.Stats.HeldTables += int(h.hpack.Size() - before) }

// untable forgets all tables, at the end.
func (h *half) untable() {
	defer h.tabled(h.hpack.Size())
	h.hpack.Forget()
	h.setLosses(losses{})
}

func (h *half) decode(data []byte) (fields []hpack.Field, more bool, err error) {
	shared, before := h.c.shared, h.hpack.Size()
	shared.look(h.c.rec.Screen())
	fields, more, err = h.hpack.Decode(shared.fields[:0], data, h.c.cfg.Headers, &shared.scratch)
	shared.fields = fields
	h.tabled(before)
	shared.Stats.TableCuts += shared.scratch.TakeTableCuts()
	return fields, more, err
}

// startOfBlock takes a block of which only the start is there: the fields in it are
// what was sent, and the first tell what it is. What came into the table behind them
// isn't known.
func (h *half) startOfBlock(b *block) {
	fields, _, err := h.decode(b.buf)
	h.forget()
	section := section{part: true}
	section.parse(fields, true)
	switch {
	case err != nil && err != hpack.ErrTruncated || section.impossible:
		if !h.proven {
			h.lost() // no frame, or not its start
			return
		}
		h.c.missHeaders(h, b)
	case len(fields) == 0 || section.unclear || b.promise:
		h.c.missHeaders(h, b)
	default:
		h.c.shared.Stats.UnknownFields += section.unknown
		h.c.headers(h, b, &section)
	}
}

// wholeBlock takes the end of the block. data may be memory of a segment.
func (h *half) wholeBlock(data []byte) {
	b := h.block
	h.inBlock = false
	defer h.releaseBlock()
	shared := h.c.shared
	stats := &shared.Stats
	h.showsBlock(&b, data)
	h.c.noteBlock(h, b.stream)
	if b.lostPart {
		stats.LostBlocks++
		h.startOfBlock(&b)
		return
	}
	fields, more, err := h.decode(data)
	switch {
	case b.cut:
		// The last field may end behind the limit; what comes there into the
		// table isn't seen.
		h.forget()
		stats.HeaderCuts++
	case err != nil:
		h.setLosses(losses{})
		stats.BrokenBlocks++
		if !h.proven {
			h.lost() // no frame, or not its start
			return
		}
		h.c.breakHeaders(h, &b)
		return
	case more:
		stats.HeaderCuts++
	default:
		h.recall(&b, fields)
	}
	var section section
	section.parse(fields, b.cut || more)
	stats.UnknownFields += section.unknown
	if section.impossible && !h.proven {
		h.lost()
		return
	}
	h.c.headers(h, &b, &section)
}
