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
	var f afpacket.Frame
	for {
		err := p.in.Source.NextBlock(p.timeout())
		switch {
		case err == nil:
			p.block(&f)
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
	if !p.out.empty() {
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

// block delivers the frames of the block at hand; f is scratch. What passed the
// kernel's filter before it changed is judged as at that time, so the program
// at the beginning holds for the whole block.
func (p *Pump) block(f *afpacket.Frame) {
	prog := p.program.Load()
	asIs := p.asIs(prog)
	for p.in.Source.Next(f) {
		if !(asIs && !f.VLANPresent && len(f.Data) < referLen && p.copyWhole(f)) {
			p.deliver(f, prog)
		}
	}
	if p.out.refers() {
		p.flush() // before the block is given back
	}
}

// asIs reports whether every untagged frame is delivered as it is in the ring,
// so that copyWhole may do it.
func (p *Pump) asIs(prog *program) bool {
	return p.in.Layout == LayoutEthernet && p.in.Wants == nil && p.cfg.MaxDatagram == 0 &&
		(prog.p == nil || prog.judged.Untagged) && !prog.sampling.Active()
}

// copyWhole is deliver for the most frequent case, in which nothing is left to
// decide and little to do: see asIs. It returns false, having done nothing,
// unless the message fits the buffer and the snap length, and somebody reads.
func (p *Pump) copyWhole(f *afpacket.Frame) bool {
	n := len(f.Data)
	message := p.out.space(rpcap.PacketOverhead + n)
	if message == nil || n > p.cfg.SnapLen || p.lost {
		return false
	}
	p.number++
	h := rpcap.PacketHeader{Timestamp: f.Timestamp, CapLen: uint32(n), Len: uint32(f.Len), Number: p.number}
	h.Put(message)
	copy(message[rpcap.PacketOverhead:], f.Data)
	p.out.add(len(message))
	return true
}

// deliver puts one frame into the outbox, as the client sees it, if the
// client's filter wants it.
// Next: flush.
func (p *Pump) deliver(f *afpacket.Frame, prog *program) {
	if p.in.Wants != nil && !p.in.Wants(f.Interface) {
		p.unwanted.Add(1)
		return // dropped because it is of an interface that wasn't asked for
	}
	message, wireLen, inRing := p.message(f)
	view := message[rpcap.PacketOverhead:]
	capLen := min(len(view), p.cfg.SnapLen)
	if prog.judges(f) {
		p.interpreted.Add(1)
		packet := p.in.Layout.packet(view, wireLen, f)
		verdict := prog.p.RunPacket(&packet)
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
	h.Put(message)
	message = message[:rpcap.PacketOverhead+capLen]
	if p.cfg.MaxDatagram > 0 && len(message) > p.cfg.MaxDatagram {
		p.oversized.Add(1)
		return // dropped because no datagram holds it
	}
	p.number++
	if inRing {
		p.out.refer(message)
	} else {
		p.out.add(len(message))
	}
}

// message lays out a frame's PACKET message, but for its header: in the ring
// around the frame, where what is in front of it is free to be overwritten, or
// as a copy in the outbox. wireLen is the frame's length on the wire in the
// client's view.
func (p *Pump) message(f *afpacket.Frame) (message []byte, wireLen int, inRing bool) {
	head, skip := p.in.Layout.head(f)
	wireLen = f.Len - skip + head
	front := rpcap.PacketOverhead + head
	if p.out.full() {
		p.flush()
	}
	if len(f.Data) >= referLen && p.out.vectored || p.cfg.MaxDatagram > 0 {
		if start := len(f.Room) - len(f.Data) + skip - front; start >= 0 {
			message = f.Room[start:]
			p.in.Layout.putHead(message[rpcap.PacketOverhead:], f)
			return message, wireLen, true
		}
	}
	n := front + len(f.Data) - skip
	if message = p.out.space(n); message == nil {
		p.flush()
		message = p.out.space(n)
	}
	p.in.Layout.putHead(message[rpcap.PacketOverhead:], f)
	copy(message[front:], f.Data[skip:])
	return message, wireLen, false
}

// flush writes the outbox. If that fails, the connection is lost: the kernel
// shall pass nothing more, and what is in the ring is only counted.
func (p *Pump) flush() {
	if p.out.empty() {
		return
	}
	if p.out.alone {
		p.sendDatagrams()
		return
	}
	sent, n, err := p.out.write()
	p.sent.Add(sent)
	p.bytes.Add(uint64(n))
	if err != nil {
		p.lose(err)
	}
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
