package websocket

import (
	"encoding/binary"
	"strings"

	capstanv1 "capstan/proto/capstan/v1"
)

// state is what a side expects next.
type state uint8

const (
	stateHeader  state = iota // the first byte of a frame, or more of its header
	statePayload              // left bytes of a frame
	stateResync               // whatever, until a chain of frames starts with a segment
)

// side is what one end sends.
type side struct {
	s      *Session
	client bool
	state  state
	count  capstanv1.WebSocketTraffic

	small   [maxHeaderLen]byte // the header in progress
	have    int
	headers int64  // time of its first byte
	frame   header // in progress, or the last one of the candidate
	left    int64  // of the frame's payload

	message message // the data message in progress, its fragments joined
	signal  message // the control frame in progress

	room       int    // bytes of content that may still be kept
	kept       int    // bytes that are
	free       []byte // memory for them
	noTakeover bool
	inflate    inflation

	// While looking for the place.
	candidate bool  // a chain of frames is being followed
	proven    int   // headers of it that fit
	ahead     int64 // bytes to the next header
	inChain   turn  // what its next data frame has to be
}

func (d *side) unfinished() bool {
	return d.message.open || d.state == statePayload || d.state == stateHeader && d.have > 0
}

// message is a message or control frame on its way in.
type message struct {
	open       bool
	opcode     byte
	compressed bool
	broken     bool // bytes are missing, or its beginning is
	first      int64
	size       int64
	frames     uint32
	listed     bool   // its content is wanted
	content    []byte // its first bytes; compressed if it is
}

// data takes bytes that start a segment.
func (d *side) data(time int64, b []byte) {
	if d.state == stateResync && !d.candidate {
		d.seek(b)
	}
	for len(b) > 0 {
		var n int
		switch d.state {
		case stateHeader:
			n = d.header(time, b)
		case statePayload:
			n = int(min(int64(len(b)), d.left))
			d.payload(time, b[:n])
		default:
			n = d.follow(b)
		}
		b = b[n:]
	}
}

// header takes bytes of a frame's header.
func (d *side) header(time int64, b []byte) int {
	if d.have == 0 {
		d.headers = time
	}
	n, h, whole, ok := d.collect(b)
	switch {
	case !whole:
	case d.count.Resyncs > 0 && !(ok && h.fits(d.client, d.s.compress)):
		d.lost() // the place was not the right one
	case !ok:
		d.count.MalformedFrames++
		d.lost()
	default:
		d.begin(time, h)
	}
	return n
}

// collect adds bytes of b to the header in progress. It returns how many, and
// the header once it is whole; ok tells whether it can be one.
func (d *side) collect(b []byte) (n int, h header, whole, ok bool) {
	for d.have < headerLen(d.small[:d.have]) {
		if n == len(b) {
			return n, h, false, true
		}
		d.small[d.have] = b[n]
		d.have++
		n++
	}
	h, ok = parseHeader(d.small[:d.have])
	d.have = 0
	return n, h, true, ok
}

// begin goes on behind the header of a frame.
func (d *side) begin(time int64, h header) {
	d.frame, d.left, d.state = h, h.length, statePayload
	d.count.Frames++
	malformed := !h.fits(d.client, d.s.compress)
	m := &d.message
	switch {
	case h.control():
		m = &d.signal
		m.start(d, h)
	case h.opcode != opContinuation:
		if m.open { // the message before has no end
			malformed = true
			m.broken = true
			d.finish(m, d.headers)
		}
		m.start(d, h)
	case !m.open:
		malformed = true // unless the start of the message was not seen
		m.start(d, h)
		m.broken = true
	}
	m.frames++
	if malformed && d.count.Resyncs == 0 {
		d.count.MalformedFrames++
	}
	if d.left == 0 {
		d.endFrame(time)
	}
}

func (m *message) start(d *side, h header) {
	*m = message{open: true, opcode: h.opcode, compressed: h.rsv1, first: d.headers, content: m.content[:0]}
	m.listed = len(d.s.record.Messages) < d.s.cfg.MaxMessages
}

// current returns the message that the frame in progress is part of.
func (d *side) current() *message {
	if d.frame.control() {
		return &d.signal
	}
	return &d.message
}

// payload takes bytes of the payload.
func (d *side) payload(time int64, b []byte) {
	m := d.current()
	at := d.frame.length - d.left
	d.left -= int64(len(b))
	m.size += int64(len(b))
	if keep := min(len(b), d.wanted(m)-len(m.content)); keep > 0 && !m.broken {
		m.content = d.frame.unmask(m.content, b[:keep], at)
	}
	if d.left == 0 {
		d.endFrame(time)
	}
}

// wanted returns how many bytes of m as sent are wanted.
func (d *side) wanted(m *message) int {
	switch {
	case m.opcode >= opClose:
		return maxControlLen
	case m.compressed && d.inflate.wanted(d, m):
		return d.s.cfg.MaxCompressed
	case m.compressed || !m.listed:
		return 0
	}
	return d.room
}

func (d *side) endFrame(time int64) {
	d.state = stateHeader
	if d.frame.control() {
		d.finish(&d.signal, time)
	} else if d.frame.fin {
		d.finish(&d.message, time)
	}
}

// keepLen is the largest buffer that is kept for the next message.
const keepLen = 2 << 10

// finish counts m, which ends at a time, and lists it if there is room.
func (d *side) finish(m *message, time int64) {
	m.open = false
	c := &d.count
	if m.broken {
		c.BrokenMessages++
	}
	switch m.opcode {
	case opText:
		c.TextMessages++
	case opBinary:
		c.BinaryMessages++
	case opPing:
		c.Pings++
	case opPong:
		c.Pongs++
	case opClose:
		d.closing(m)
	}
	if m.opcode < opClose {
		c.MessageBytes += uint64(m.size)
		if m.compressed {
			c.CompressedMessages++
			d.s.record.Compression = true
		}
	}
	content, size := d.contentOf(m)
	if cap(m.content) > keepLen {
		defer func() { m.content = nil }()
	}
	switch {
	case m.opcode == opContinuation:
		return
	case len(d.s.record.Messages) >= d.s.cfg.MaxMessages:
		d.s.cfg.Shared.Stats.Unlisted++
		return
	}
	told := d.s.list()
	told.FromClient, told.Opcode = d.client, uint32(m.opcode)
	told.FirstByteUnixNs, told.LastByteUnixNs = uint64(m.first), uint64(max(time, m.first))
	told.Size, told.Frames, told.Compressed, told.Incomplete = uint64(m.size), m.frames, m.compressed, m.broken
	told.Content, told.ContentSize = d.keep(content[:min(len(content), d.room)]), size
}

// minTextLen is the least memory for content that is allocated at once.
const minTextLen = 256

// keep copies content, whose buffer is used again. There is room for it.
func (d *side) keep(content []byte) []byte {
	if len(content) > len(d.free) {
		d.free = make([]byte, max(len(content), min(d.room, minTextLen)))
	}
	n := copy(d.free, content)
	kept := d.free[:n:n]
	d.free = d.free[n:]
	d.room -= n
	d.kept += n
	return kept
}

// contentOf returns the first bytes of the content of m and how many there are in
// all, 0 if that is not known.
func (d *side) contentOf(m *message) ([]byte, uint64) {
	switch {
	case m.compressed && m.broken:
		d.inflate.lose(d)
		return nil, 0
	case m.compressed:
		return d.inflate.message(d, m)
	case m.broken:
		return m.content, 0
	}
	return m.content, uint64(m.size)
}

// noCode stands for a close frame without a code (RFC 6455 §7.4.1).
const noCode = 1005

func (d *side) closing(m *message) {
	c := &d.count
	if c.Closed {
		return
	}
	c.Closed, c.CloseCode = true, noCode
	if m.size > 0 && !m.broken && !mayClose(m.content) {
		c.MalformedFrames++
	}
	if len(m.content) >= 2 {
		c.CloseCode = uint32(binary.BigEndian.Uint16(m.content))
		c.CloseReason = strings.ToValidUTF8(string(m.content[2:]), "\uFFFD")
	}
}

// gap takes n missing bytes: exact inside of a payload.
func (d *side) gap(n int64) {
	switch {
	case d.state == statePayload && n <= d.left:
		m := d.current()
		d.left -= n
		m.size += n
		m.broken = true
		if d.left == 0 {
			d.endFrame(m.first)
		}
	default:
		d.lost()
	}
}

// lost looks for the place again. What is in progress ends here.
func (d *side) lost() {
	d.end()
	d.inflate.lose(d)
	d.state, d.candidate = stateResync, false
	d.count.Resyncs++
}

// end ends what is in progress before its end.
func (d *side) end() {
	for _, m := range [...]*message{&d.signal, &d.message} {
		if m.open {
			m.broken = true
			d.finish(m, m.first)
		}
	}
	d.have = 0
}
