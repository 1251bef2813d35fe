package capfile

import (
	"io"

	"capstan/pkg/capture"
)

// Magic numbers of pcap files; the second has nanoseconds, the third is that
// of Kuznetzov's patched format, whose records are 8 bytes longer.
const (
	pcapMicros   = 0xa1b2c3d4
	pcapNanos    = 0xa1b23c4d
	pcapModified = 0xa1b2cd34

	pcapHeaderLen = 24
	pcapRecordLen = 16
)

func isPcapMagic(m uint32) bool { return m == pcapMicros || m == pcapNanos || m == pcapModified }

// pcap reads the classic format.
type pcap struct {
	in        *input
	order     byteOrder
	nanos     int64 // per unit of the record's fraction field
	recordLen int
	linkType  capture.LinkType
}

func newPcap(in *input, order byteOrder) (*pcap, error) {
	h, err := in.body(pcapHeaderLen)
	if err != nil {
		return nil, err
	}
	p := &pcap{in: in, order: order, nanos: 1000, recordLen: pcapRecordLen}
	switch order.uint32(h) {
	case pcapNanos:
		p.nanos = 1
	case pcapModified:
		p.recordLen += 8
	}
	// The upper bits tell the length of a frame check sequence, which is
	// treated as padding by every decoder here.
	p.linkType = capture.LinkTypeFromFile(order.uint32(h[20:]) & 0xffff)
	return p, nil
}

// ownFields returns how many bytes of its own the writer has put behind each
// record's header without a magic number of its own: the tcpdump of Red Hat 6.1
// eight, those of Nokia's appliances and of SuSE 6.3 four, the latter behind
// Kuznetzov's. Wireshark saves these forms, too. So it is guessed from where the
// second record begins, for which it waits.
func (p *pcap) ownFields() int {
	first, err := p.in.peek(pcapRecordLen)
	if err != nil || !p.makesSense(first) {
		return 0
	}
	behind := p.recordLen + int(p.order.uint32(first[8:]))
	const most = 8
	b, _ := p.in.peek(behind + most + pcapRecordLen) // as much as there is
	for _, n := range [...]int{0, most, 4} {
		if behind+n+pcapRecordLen > len(b) {
			continue
		}
		if second := b[behind+n:]; p.makesSense(second) && (n == 0 || p.follows(b, second)) {
			return n
		}
	}
	return 0
}

// makesSense reports whether the record header h can be read on with.
func (p *pcap) makesSense(h []byte) bool {
	fraction, capLen := p.order.uint32(h[4:]), p.order.uint32(h[8:])
	return int64(fraction)*p.nanos < 1e9 && capLen <= MaxFrameLen
}

// follows reports whether the record headers a and b are of one capture, rather than b
// of bytes that are none: it was begun within 30 days, and has possible lengths.
func (p *pcap) follows(a, b []byte) bool {
	const days = 30 * 24 * 3600
	apart := int64(p.order.uint32(b)) - int64(p.order.uint32(a))
	capLen, wireLen := p.order.uint32(b[8:]), p.order.uint32(b[12:])
	return apart >= -days && apart <= days && (capLen <= wireLen || wireLen == 0)
}

func (p *pcap) next(f *capture.Frame) error {
	h, err := p.in.take(p.recordLen)
	if err == io.EOF {
		return err
	}
	if err != nil {
		return p.cut(err)
	}
	f.Timestamp = int64(p.order.uint32(h))*1e9 + int64(p.order.uint32(h[4:]))*p.nanos
	capLen, wireLen := p.order.uint32(h[8:]), p.order.uint32(h[12:])
	if capLen > MaxFrameLen {
		return p.in.corrupt("a record of %d captured bytes, more than the %d that occur", capLen, MaxFrameLen)
	}
	if f.Data, err = p.in.body(int(capLen)); err != nil {
		return err
	}
	f.Len = int(max(wireLen, capLen)) // some writers leave the wire length 0
	f.LinkType, f.Interface = p.linkType, 0
	return nil
}

func (p *pcap) cut(err error) error {
	if err != io.ErrUnexpectedEOF {
		return err
	}
	_, err = p.in.body(p.recordLen) // fails again, and says where
	return err
}
