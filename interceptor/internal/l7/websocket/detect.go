package websocket

import "unicode/utf8"

// LooksLikeFrames reports whether b starts with whole frames as an honest end sends them:
// those of a client from the first of a message on, behind which the start of another may
// follow, those of a server from anywhere between two, of which the last ends b and one is hardly found by chance. compressed
// tells that one of them begins a compressed message.
func LooksLikeFrames(b []byte, fromClient bool) (ok, compressed bool) {
	var t turn
	if fromClient {
		t = turnFirst
	}
	whole, proven := len(b), fromClient
	for len(b) > 0 {
		n := headerLen(b)
		if len(b) < n {
			break
		}
		h, valid := parseHeader(b[:n])
		if !valid || !h.fits(fromClient, true) || h.length > maxChainLen || !t.takes(&h) {
			return false, false
		}
		compressed = compressed || h.rsv1
		if h.length > int64(len(b)-n) {
			break
		}
		if !h.says(b[n : n+int(h.length)]) {
			return false, false
		}
		b = b[n+int(h.length):]
		ok, proven = true, proven || h.proves(n == whole)
	}
	return ok && proven && (fromClient || len(b) == 0), compressed
}

// says reports whether payload may be that of h: a text that is one message is UTF-8, and
// who closes gives no code or one that may be sent (RFC 6455 §5.6, §7.4).
func (h *header) says(payload []byte) bool {
	switch {
	case h.opcode == opText && h.fin && !h.rsv1:
		return utf8.Valid(h.unmask(nil, payload, 0))
	case h.opcode == opClose && len(payload) > 0:
		return mayClose(h.unmask(nil, payload, 0))
	}
	return true
}

// mayClose reports whether b begins with a code of closing that may be sent.
func mayClose(b []byte) bool {
	return len(b) > 1 && int(b[0])<<8|int(b[1]) >= 1000 && int(b[0])<<8|int(b[1]) < 5000
}
