package pump

import (
	"net"

	"golang.org/x/sys/unix"

	"capstan/pkg/rpcap"
)

const (
	// bufferLen is the size of one write of copied messages. Larger writes gain
	// nothing over TCP; smaller ones cost more calls. The buffer grows for a
	// larger message.
	bufferLen = 256 << 10
	// maxPieces is IOV_MAX (limits.h): a longer vector takes a second call.
	maxPieces = 1024
)

// outbox gathers messages, so that one system call writes many: copies in a
// buffer, and, where the connection takes a vector, messages that stay where
// they are.
type outbox struct {
	conn     net.Conn
	raw      *rawWriter // to conn; nil if that is no socket
	vectored bool       // messages may stay where they are
	alone    bool       // each message is a piece: it is written alone

	buf    []byte
	fill   int      // bytes of buf in use
	listed int      // of those: bytes that pieces holds
	pieces [][]byte // what to write before buf[listed:fill], in order
	queued uint64   // messages to write

	vector []unix.Iovec // what raw writes; owned by write
}

// open sets the connection that write writes to. TCP takes a vector with one
// system call. So does a unix socket, where it saves nothing (docs/performance.md);
// TLS copies anyway, and needs large pieces to fill its records.
func (o *outbox) open(conn net.Conn) {
	o.conn = conn
	o.raw = newRawWriter(conn)
	_, isTCP := conn.(*net.TCPConn)
	o.vectored = isTCP && o.raw != nil
}

// empty reports whether there is nothing to write.
func (o *outbox) empty() bool { return o.queued == 0 }

// refers reports whether messages that aren't copied are to be written.
func (o *outbox) refers() bool { return len(o.pieces) > 0 }

// space returns room for a message of n bytes, or nil if copies have to be
// written first. Until add it may be used for something else.
func (o *outbox) space(n int) []byte {
	if n > len(o.buf)-o.fill {
		if o.fill > 0 {
			return nil
		}
		o.buf = make([]byte, max(n, bufferLen))
	}
	return o.buf[o.fill : o.fill+n]
}

// add adds the first n bytes of what space returned.
func (o *outbox) add(n int) {
	o.fill += n
	o.queued++
	if o.alone {
		o.list()
	}
}

// full reports whether no further message can be referred to, or, with datagrams,
// added.
func (o *outbox) full() bool {
	if o.alone {
		return len(o.pieces) >= datagramBatch
	}
	return len(o.pieces) > maxPieces-3
}

// refer adds a message that stays where it is. It must not change until write.
func (o *outbox) refer(message []byte) {
	o.list()
	o.pieces = append(o.pieces, message)
	o.queued++
}

// list makes a piece of the copies that aren't in one.
func (o *outbox) list() {
	if o.listed < o.fill {
		o.pieces = append(o.pieces, o.buf[o.listed:o.fill])
		o.listed = o.fill
	}
}

// write writes everything and empties the outbox. sent counts the messages that
// were written whole, n the bytes.
func (o *outbox) write() (sent uint64, n int64, err error) {
	if o.raw != nil {
		n, err = o.writeVector()
	} else {
		var written int
		written, err = o.conn.Write(o.buf[:o.fill])
		n = int64(written)
	}
	sent = o.queued
	if err != nil {
		o.list()
		sent = wholeMessages(o.pieces, n)
	}
	o.reset()
	return sent, n, err
}

func (o *outbox) writeVector() (n int64, err error) {
	o.list()
	o.vector = o.vector[:0]
	for _, b := range o.pieces {
		v := unix.Iovec{Base: &b[0]}
		v.SetLen(len(b))
		o.vector = append(o.vector, v)
	}
	return o.raw.writeAll(o.vector)
}

// reset empties the outbox.
func (o *outbox) reset() {
	o.fill, o.listed, o.queued = 0, 0, 0
	o.pieces = o.pieces[:0]
}

// wholeMessages counts the messages that the first n bytes of pieces hold
// completely. No message is spread over two pieces.
func wholeMessages(pieces [][]byte, n int64) (count uint64) {
	for _, b := range pieces {
		for len(b) > 0 {
			length := rpcap.HeaderLen + int(rpcap.ParseHeader(b).Len)
			if n -= int64(length); n < 0 {
				return count
			}
			b = b[length:]
			count++
		}
	}
	return count
}
