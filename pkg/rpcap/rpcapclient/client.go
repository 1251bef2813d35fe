package rpcapclient

import (
	"encoding/binary"
	"net"
	"sync"
	"time"

	"capstan/pkg/capture"
)

// Client is a session with a server. Its methods may be called from any
// goroutine; requests wait for one another.
type Client struct {
	// Immutable after Dial.
	conn           net.Conn
	dial           *dialer
	requestTimeout time.Duration
	grace          time.Duration // of its streams: controlGrace but for tests
	order          binary.ByteOrder
	transport      Transport     // what TransportDefault stands for
	readerDone     chan struct{} // closed when the reader goroutine has ended

	// turn holds a token while no request is under way.
	turn chan struct{}

	// Held by whoever has the turn.
	linkType capture.LinkType
	opened   bool

	// writing serialises writes: a request and the CLOSE of Close.
	writing sync.Mutex
	torn    bool // guarded by writing: a write failed in the middle of a message

	mu sync.Mutex
	// Guarded by mu.
	pending     []*call              // requests without an answer, oldest first
	unsolicited error                // the first ERROR that answered no request, since the last Start
	ended       error                // why the control connection is over
	streams     map[*Stream]struct{} // not yet closed
	closed      bool
	// A pipe for frames that come on the control connection: the end that the
	// reader writes to, and the Stream's until Start has taken it.
	inline, inlineStream net.Conn
}

// newClient takes conn over and starts its reader.
func newClient(conn net.Conn, d *dialer, requestTimeout time.Duration) *Client {
	c := &Client{
		conn: conn, dial: d, requestTimeout: requestTimeout, grace: controlGrace,
		transport:  TransportConnect,
		readerDone: make(chan struct{}),
		turn:       make(chan struct{}, 1),
		streams:    make(map[*Stream]struct{}),
	}
	c.turn <- struct{}{}
	go c.readReplies() // ends when conn is closed; Close and abort wait for it
	return c
}

// ByteOrder returns the byte order of the server's host, in which a few link
// types have fields. Those of CAN frames on cooked devices and of NFLOG are
// converted in the frames that a Stream delivers. Servers before libpcap 1.10.2 don't tell; then it is the
// order of this host.
func (c *Client) ByteOrder() binary.ByteOrder { return c.order }

// Err returns what became of the session without a request being told: the
// first ERROR since the last Start that answered no request, or else why the
// control connection is over. It returns nil while neither has happened.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.errLocked()
}

// errLocked is Err for those who hold mu.
func (c *Client) errLocked() error {
	if c.unsolicited != nil {
		return c.unsolicited
	}
	return c.ended
}

// Close ends the session: it sends CLOSE if the control connection is sound,
// closes every connection and waits for the Client's goroutine. A request and a
// Stream.Next under way end with an error that is os.ErrClosed. Close may be
// called more than once and from any goroutine.
func (c *Client) Close() error {
	c.mu.Lock()
	first := !c.closed
	c.closed = true
	sound := c.ended == nil
	c.mu.Unlock()
	if first && sound {
		c.sendClose()
	}
	return c.Disconnect()
}

// Disconnect is Close without the CLOSE message. A daemon in active mode then
// connects again; after a CLOSE it doesn't.
func (c *Client) Disconnect() error {
	c.mu.Lock()
	c.closed = true
	streams := make([]*Stream, 0, len(c.streams))
	for s := range c.streams {
		streams = append(streams, s)
	}
	c.mu.Unlock()
	for _, s := range streams {
		s.Close()
	}
	c.closeInline()
	c.conn.Close() // its error says nothing that the session's end doesn't
	<-c.readerDone
	return nil
}
