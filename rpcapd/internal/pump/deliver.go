package pump

import (
	"errors"
	"fmt"
	"os"
	"time"

	"capstan/pkg/afpacket"
	"capstan/pkg/rpcap"
)

// run is the pump's goroutine.
func (p *Pump) run() {
	defer close(p.done)
	frames := make([]afpacket.Frame, batchLen)
	for {
		n, err := p.in.Source.Read(frames, p.timeout())
		switch {
		case err == nil:
			for i := range frames[:n] {
				p.deliver(&frames[i])
			}
		case errors.Is(err, os.ErrDeadlineExceeded):
			p.flush()
			if p.ended() {
				return
			}
		default:
			p.flush()
			if !p.aborted.Load() && p.err == nil {
				p.err = fmt.Errorf("read ring: %w", err)
			}
			return
		}
		if p.aborted.Load() {
			return
		}
	}
}

// timeout is how long to wait for the next block: not at all while something
// is still to be written.
func (p *Pump) timeout() time.Duration {
	if p.fill > 0 {
		return 0
	}
	if p.stopping.Load() || p.lost {
		return retireSlack
	}
	return pollInterval
}

// ended tells whether a pump that found no block waiting is finished: after
// Stop, as soon as the ring's last block must have been retired; after a lost
// connection, likewise.
func (p *Pump) ended() bool {
	if p.aborted.Load() {
		return true
	}
	stopAt := p.stopAt.Load()
	return stopAt != 0 && time.Now().UnixNano() >= stopAt+int64(p.cfg.BlockTimeout+retireSlack)
}

// deliver puts one frame into the buffer, as the client sees it, if the
// client's filter wants it.
// Next: flush.
func (p *Pump) deliver(f *afpacket.Frame) {
	if p.in.Wants != nil && !p.in.Wants(f.Interface) {
		p.unwanted.Add(1)
		return // dropped because it is of an interface that wasn't asked for
	}
	need := rpcap.PacketOverhead + maxOverhead + len(f.Data)
	if need > len(p.buf)-p.fill {
		p.flush()
		if need > len(p.buf) {
			p.buf = make([]byte, need)
		}
	}
	// Copied because the data connection takes one contiguous piece for many
	// frames; for small frames that is cheaper than naming each in a vector.
	view := p.buf[p.fill+rpcap.PacketOverhead:]
	n, wireLen := p.in.Layout.put(view, f)
	capLen := min(n, p.cfg.SnapLen)
	if p.in.Own != nil && p.in.Own(p.in.Layout.packet(view[:n], wireLen, f)) {
		p.unwanted.Add(1)
		return // dropped because it is our own
	}
	prog := p.program.Load()
	if prog.judges(f) {
		verdict := prog.p.RunPacket(p.in.Layout.packet(view[:n], wireLen, f))
		if verdict == 0 {
			p.refused.Add(1) // dropped because the client's filter refuses it
			return
		}
		capLen = int(min(uint32(capLen), verdict))
	}
	if prog.sampling.Active() && !p.sample.keep(prog.sampling, f.Timestamp) {
		p.sampled.Add(1)
		return // dropped because the client asked for fewer
	}
	if p.lost {
		return // dropped because nobody reads; counted as undelivered at the end
	}
	h := rpcap.PacketHeader{Timestamp: f.Timestamp, CapLen: uint32(capLen), Len: uint32(wireLen), Number: p.number + 1}
	h.Put(p.buf[p.fill:])
	if p.cfg.MaxDatagram > 0 {
		p.sendDatagram(p.buf[:rpcap.PacketOverhead+capLen])
		return
	}
	p.number++
	p.fill += rpcap.PacketOverhead + capLen
	p.queued++
}

// flush writes the buffer. If that fails, the connection is lost: the kernel
// shall pass nothing more, and what is in the ring is only counted.
func (p *Pump) flush() {
	if p.fill == 0 {
		return
	}
	n, err := p.conn.Write(p.buf[:p.fill])
	if err == nil {
		p.sent.Add(p.queued)
	} else {
		p.sent.Add(wholeMessages(p.buf[:n]))
		p.lose(err)
	}
	p.bytes.Add(uint64(n))
	p.fill, p.queued = 0, 0
}

func (p *Pump) lose(err error) {
	p.lost = true
	p.conn.Close()
	if p.stopping.Load() || p.aborted.Load() {
		return
	}
	p.err = fmt.Errorf("%w: %w", ErrConnectionLost, err)
	p.halt()
	p.stopAt.CompareAndSwap(0, time.Now().UnixNano())
}

// wholeMessages counts the PACKET messages that b, the start of a buffer,
// holds completely.
func wholeMessages(b []byte) (count uint64) {
	for len(b) >= rpcap.HeaderLen {
		n := rpcap.HeaderLen + int(rpcap.ParseHeader(b).Len)
		if n > len(b) {
			break
		}
		b = b[n:]
		count++
	}
	return count
}
