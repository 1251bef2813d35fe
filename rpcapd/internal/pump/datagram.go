package pump

import (
	"errors"
	"net"
	"os"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"capstan/pkg/rpcap"
)

// datagramBatch is how many datagrams one system call sends; more gain nothing,
// and come in longer bursts.
const datagramBatch = 64

// batchWriter sends datagrams with one system call (sendmmsg(2)). It sends the
// first n, and fails only if that is none. ipv4.PacketConn is one for sockets of
// either family.
type batchWriter interface {
	WriteBatch(ms []ipv4.Message, flags int) (n int, err error)
}

// batchWriterOf returns what writes to conn, a connected socket for datagrams.
func batchWriterOf(conn net.Conn) batchWriter {
	if w, ok := conn.(batchWriter); ok {
		return w
	}
	return ipv4.NewPacketConn(conn.(net.PacketConn))
}

// datagrams is the vector of one system call.
type datagrams struct {
	conn     batchWriter
	messages []ipv4.Message // datagramBatch of them, with one buffer each
}

func newDatagrams(conn batchWriter) *datagrams {
	d := &datagrams{conn: conn, messages: make([]ipv4.Message, datagramBatch)}
	for i := range d.messages {
		d.messages[i].Buffers = make([][]byte, 1)
	}
	return d
}

// write sends the first of pieces, at most datagramBatch, and returns how many.
func (d *datagrams) write(pieces [][]byte) (n int, err error) {
	batch := d.messages[:min(len(pieces), len(d.messages))]
	for i := range batch {
		batch[i].Buffers[0] = pieces[i]
	}
	n, err = d.conn.WriteBatch(batch, 0)
	return max(n, 0), err
}

// sendDatagrams writes the messages of the outbox, each as a datagram.
// Deviation: the reference ends the capture at the first frame that doesn't fit
// or that the network refuses; such a frame is dropped here, counted, and has no
// number.
func (p *Pump) sendDatagrams() {
	rest, again := p.out.pieces, false
	for len(rest) > 0 && !p.lost {
		n, err := p.datagrams.write(rest)
		for _, b := range rest[:n] {
			p.bytes.Add(uint64(len(b)))
		}
		p.sent.Add(uint64(n))
		rest = rest[n:]
		switch {
		case n > 0:
			again = false
		case errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded):
			p.lose(err)
		case errors.Is(err, unix.ECONNREFUSED) && !again:
			// It tells that nobody listened when an earlier datagram arrived,
			// and this one has not been sent.
			again = true
		default:
			again = false
			p.failed.Add(1) // no route, no buffer, no listener: the next one may get through
			rest = rest[1:]
			p.number--
			renumber(rest)
		}
	}
	p.out.reset()
}

// renumber gives each message the number of the one before it.
func renumber(messages [][]byte) {
	for _, b := range messages {
		h := rpcap.ReadPacketHeader(b[rpcap.HeaderLen:])
		h.Number--
		h.Put(b)
	}
}
