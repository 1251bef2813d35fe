package tls

import "capstan/pkg/flow"

// maxHelloLen bounds the messages that are put together. Hellos with post-quantum
// keys have 2 KiB.
const maxHelloLen = 16 << 10

// half is one direction: first records of which some are in the clear, then what
// is counted only.
type half struct {
	state   state
	spoke   bool // its first bytes were seen, or will not be
	foreign bool // they begin no record, or too little of one
	header  [recordHeaderLen]byte
	have    int    // of header
	left    int    // of the record in hand
	message []byte // of the handshake, as far as it came, with its header
	skip    int    // of a message that is not wanted
	alerts  [2]byte
	alertN  int

	encrypted uint64
}

// state is what a half expects next.
type state uint8

const (
	stateHeader state = iota // of a record
	stateBody
	stateBlind // all is encrypted, or the place is lost
)

// data takes the next bytes.
func (h *half) data(c *Conn, d flow.Direction, b []byte) {
	for len(b) > 0 {
		n := 0
		switch h.state {
		case stateHeader:
			n = copy(h.header[h.have:], b)
			h.have += n
			if h.have == recordHeaderLen {
				h.begin(c)
			}
		case stateBody:
			n = min(len(b), h.left)
			h.left -= n
			h.content(c, d, b[:n])
			if h.left == 0 && h.state == stateBody {
				h.state = stateHeader
			}
		default:
			h.encrypted += uint64(len(b))
			return
		}
		b = b[n:]
	}
}

// begin goes on behind the header of a record.
func (h *half) begin(c *Conn) {
	h.have, h.alertN = 0, 0
	h.left = int(h.header[3])<<8 | int(h.header[4])
	ok, _ := LooksLikeRecord(h.header[:])
	switch {
	case ok && h.header[0] == typeChangeCipherSpec && c.record.HelloRetry && !c.record.ServerHello:
		h.state = stateBody // it changes nothing (RFC 8446 appendix D.4)
	case !ok, h.header[0] == typeChangeCipherSpec, h.header[0] == typeApplicationData, h.header[0] == typeAlert && h.left != len(h.alerts):
		h.encrypted += recordHeaderLen // what follows is, or it is no TLS
		h.blind()
	default:
		h.state = stateBody
	}
}

// blind looks for nothing more.
func (h *half) blind() {
	h.state = stateBlind
	h.message = nil
}

// content takes bytes of a record in the clear.
func (h *half) content(c *Conn, d flow.Direction, b []byte) {
	switch h.header[0] {
	case typeChangeCipherSpec:
		return
	case typeAlert:
		h.alertN += copy(h.alerts[h.alertN:], b)
		if h.alertN == len(h.alerts) {
			c.alert(h.alerts[1])
		}
		return
	}
	for len(b) > 0 && h.state == stateBody {
		if h.skip > 0 {
			n := min(h.skip, len(b))
			h.skip -= n
			b = b[n:]
			continue
		}
		b = b[h.collect(c, d, b):]
	}
	if h.state == stateBlind {
		h.encrypted += uint64(len(b))
	}
}

// collect adds bytes to the message in progress, and hands it on once it is
// whole.
func (h *half) collect(c *Conn, d flow.Direction, b []byte) int {
	want := messageHeaderLen
	if len(h.message) >= messageHeaderLen {
		want += messageLen(h.message)
	}
	n := min(len(b), want-len(h.message))
	h.message = append(h.message, b[:n]...)
	if len(h.message) < messageHeaderLen {
		return n
	}
	kind, length := h.message[0], messageLen(h.message)
	switch {
	case kind != clientHello && kind != serverHello:
		if whole := messageHeaderLen + length; whole <= int(h.header[3])<<8|int(h.header[4]) {
			c.recogniseBy(d, kind) // what is encrypted hardly ever has such a length
		}
		h.message, h.skip = nil, length
	case length > maxHelloLen:
		c.stats.Unread++
		h.blind()
	case len(h.message) == messageHeaderLen+length:
		if !c.hello(d, kind, h.message[messageHeaderLen:]) {
			h.blind()
		}
		h.message = nil
	}
	return n
}
