package packet

import "encoding/binary"

const tcpHeaderLen = 20

// tcp decodes the TCP header at off (RFC 9293 §3.1). A header whose options
// were cut off still counts.
func (w *walk) tcp(off int) Outcome {
	if off+tcpHeaderLen > len(w.data) {
		return w.lacks(off + tcpHeaderLen)
	}
	s := w.seg
	h := w.data[off : off+tcpHeaderLen]
	payload := off + int(h[12]>>4)*4
	if payload < off+tcpHeaderLen || payload > w.end {
		return OutcomeMalformed
	}
	s.setKey(w.src, binary.BigEndian.Uint16(h[0:]), w.dst, binary.BigEndian.Uint16(h[2:]), w.scope)
	s.Seq = binary.BigEndian.Uint32(h[4:])
	s.Ack = binary.BigEndian.Uint32(h[8:])
	s.Flags = Flags(h[13])
	s.Window = binary.BigEndian.Uint16(h[14:])
	s.Urgent = binary.BigEndian.Uint16(h[18:])
	s.TSVal, s.TSEcr = 0, 0
	if payload > off+tcpHeaderLen {
		s.timestamps(w.data[off+tcpHeaderLen : min(payload, len(w.data))])
	}
	if w.depth > 0 {
		w.dec.stats.Tunnelled++
	}
	if payload >= len(w.data) {
		s.Payload, s.Missing = nil, w.end-payload
	} else {
		s.Payload = w.data[payload:len(w.data):len(w.data)]
		s.Missing = w.end - len(w.data)
	}
	if w.dec.cfg.Checksums == ChecksumIgnore {
		return OutcomeTCP
	}
	return w.dec.judge(w.tcpChecksum(off))
}

// timestamps reads the timestamps option (RFC 7323 §3.2). Linux and most others
// send it behind two NOPs and alone.
func (s *Segment) timestamps(options []byte) {
	const usual = optNOP<<24 | optNOP<<16 | optTimestamps<<8 | timestampsLen
	if len(options) >= 2+timestampsLen && binary.BigEndian.Uint32(options) == usual {
		s.TSVal, s.TSEcr = binary.BigEndian.Uint32(options[4:]), binary.BigEndian.Uint32(options[8:])
		return
	}
	s.searchTimestamps(options)
}

// searchTimestamps is timestamps for all options. What is malformed ends the search.
func (s *Segment) searchTimestamps(options []byte) {
	for len(options) >= timestampsLen && options[0] != optEnd {
		if options[0] == optNOP {
			options = options[1:]
			continue
		}
		n := int(options[1])
		switch {
		case n < 2 || n > len(options):
			return
		case options[0] == optTimestamps && n == timestampsLen:
			s.TSVal, s.TSEcr = binary.BigEndian.Uint32(options[2:]), binary.BigEndian.Uint32(options[6:])
			return
		}
		options = options[n:]
	}
}

// Kinds of TCP options, and the length of one (RFC 9293 §3.1, RFC 7323 §3.2).
const (
	optEnd        = 0
	optNOP        = 1
	optTimestamps = 8
	timestampsLen = 10
)
