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
