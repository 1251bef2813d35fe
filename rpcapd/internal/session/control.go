package session

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"capstan/pkg/rpcap"
)

// control is the control connection. Its methods are for the session's
// goroutine, except wake.
type control struct {
	raw    net.Conn // never changes
	conn   net.Conn // raw, or TLS on it
	reader *rpcap.Reader

	mu    sync.Mutex // guards woken and orders changes of the read deadline
	woken bool
}

// errWoken is returned by a read that wake interrupted; nothing is lost.
var errWoken = errors.New("read interrupted")

// past is a deadline that has expired in any clock.
var past = time.Unix(1, 0)

// wake interrupts the read that waits, or else the next one.
func (c *control) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.woken = true
	_ = c.raw.SetReadDeadline(past)
}

// arm sets the deadline of the next read; the zero time is none.
func (c *control) arm(deadline time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.woken {
		_ = c.raw.SetReadDeadline(deadline)
	}
}

// interrupted turns a timeout that wake caused into errWoken.
func (c *control) interrupted(err error) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.woken {
		c.woken = false
		return errWoken
	}
	return err
}

// peek waits for n bytes beyond the last message. Beside errWoken it fails with
// os.ErrDeadlineExceeded and io.EOF.
func (c *control) peek(n int, deadline time.Time) ([]byte, error) {
	c.arm(deadline)
	b, err := c.reader.Peek(n)
	if err != nil {
		return b, c.interrupted(err)
	}
	return b, nil
}

// next reads the message that has begun to arrive; see [rpcap.Reader.Next].
func (c *control) next(deadline time.Time) (rpcap.Header, []byte, error) {
	c.arm(deadline)
	h, body, err := c.reader.Next()
	if err != nil {
		return h, nil, c.interrupted(err)
	}
	return h, body, nil
}

// writeLen is how much the client has to take within the timeout of write.
const writeLen = 64 << 10

// write writes b whole or fails. The timeout is for each writeLen bytes: a
// listing may have megabytes, and a client far away is no fault.
func (c *control) write(b []byte, timeout time.Duration) error {
	for piece := range slices.Chunk(b, writeLen) {
		_ = c.raw.SetWriteDeadline(time.Now().Add(timeout))
		if _, err := c.conn.Write(piece); err != nil {
			return err
		}
	}
	return nil
}

// replay returns the raw connection with the bytes in front that the reader
// holds already. The reader must not be used any more.
func (c *control) replay() net.Conn {
	head, _ := c.reader.Peek(c.reader.Buffered()) // waits for nothing, so it can't fail
	return &replayConn{Conn: c.raw, head: bytes.NewReader(bytes.Clone(head))}
}

// lingerLen bounds what is read from a client that has been told to go.
const lingerLen = 1 << 20

// close closes the connection, after giving the client up to linger to read
// what was sent last.
func (c *control) close(linger time.Duration) {
	if half, ok := c.conn.(interface{ CloseWrite() error }); ok && linger > 0 && half.CloseWrite() == nil {
		_ = c.raw.SetReadDeadline(time.Now().Add(linger))
		_, _ = io.CopyN(io.Discard, c.conn, lingerLen)
	}
	c.conn.Close()
}
