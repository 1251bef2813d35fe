package pump

import (
	"errors"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// sendDatagram writes one message. Deviation: the reference ends the capture
// at the first frame that doesn't fit or that the network refuses; such a frame
// is dropped here, counted, and has no number.
func (p *Pump) sendDatagram(b []byte) {
	if len(b) > p.cfg.MaxDatagram {
		p.oversized.Add(1)
		return
	}
	_, err := p.conn.Write(b)
	if errors.Is(err, unix.ECONNREFUSED) {
		// It tells that nobody listened when an earlier datagram arrived, and
		// this one has not been sent.
		_, err = p.conn.Write(b)
	}
	switch {
	case err == nil:
		p.number++
		p.sent.Add(1)
		p.bytes.Add(uint64(len(b)))
	case errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded):
		p.lose(err)
	default:
		p.failed.Add(1) // no route, no buffer, no listener: the next one may get through
	}
}
