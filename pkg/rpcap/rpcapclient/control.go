package rpcapclient

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"capstan/pkg/rpcap"
)

// call is a request that is owed an answer.
type call struct {
	sent      rpcap.Type
	reply     rpcap.Message
	answered  func()     // called by the reader when reply is set, before anything that follows it; nil: none
	abandoned bool       // nobody waits any more; guarded by Client.mu
	done      chan error // gets one value, after reply is set
}

// maxAbandoned is how many answers the server may owe us for requests that
// nobody waits for any more. With more it is called stuck.
const maxAbandoned = 16

var errStuck = fmt.Errorf("the server has left %d requests unanswered", maxAbandoned)

// request sends m and decodes its answer into reply. After a timeout the
// session stays in step: the late answer is recognised and dropped.
func (c *Client) request(ctx context.Context, m, reply rpcap.Message) error {
	return c.inTurn(ctx, func(ctx context.Context) error { return c.exchange(ctx, m, reply) })
}

// inTurn runs f when no other request is under way, with the time that a
// request has.
func (c *Client) inTurn(ctx context.Context, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.requestTimeout, fmt.Errorf("no answer within %v: %w", c.requestTimeout, context.DeadlineExceeded))
	defer cancel()
	select {
	case <-c.turn:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { c.turn <- struct{}{} }()
	return f(ctx)
}

// exchange is request for those who have the turn.
func (c *Client) exchange(ctx context.Context, m, reply rpcap.Message) error {
	return c.exchangeThen(ctx, m, reply, nil)
}

// exchangeThen is exchange with a function that the reader calls when the
// answer is in reply, before it reads on.
func (c *Client) exchangeThen(ctx context.Context, m, reply rpcap.Message, answered func()) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	call := &call{sent: m.Type(), reply: reply, answered: answered, done: make(chan error, 1)}
	if err := c.enqueue(call); err != nil {
		return err
	}
	if err := c.write(rpcap.Append(nil, m), writeDeadline(ctx)); errors.Is(err, os.ErrDeadlineExceeded) {
		c.fail(fmt.Errorf("send %v: %w", m.Type(), err))
	} // any other error is the connection's end, and the reader may still find the reason on it
	select {
	case err := <-call.done:
		return err
	case <-ctx.Done():
	}
	c.mu.Lock()
	call.abandoned = true
	unsolicited := c.unsolicited
	c.mu.Unlock()
	select {
	case err := <-call.done: // it came after all
		return err
	default:
	}
	if unsolicited != nil { // some servers may mean it as the answer
		return fmt.Errorf("%w (and earlier: %w)", context.Cause(ctx), unsolicited)
	}
	return context.Cause(ctx)
}

// minWriteTimeout is what a request has for its way out even if ctx leaves less:
// a write that is given up costs the session.
const minWriteTimeout = time.Second

func writeDeadline(ctx context.Context) time.Time {
	least := time.Now().Add(minWriteTimeout)
	if end, ok := ctx.Deadline(); ok && end.After(least) {
		return end
	}
	return least
}

// enqueue lets the reader know which answer comes next.
func (c *Client) enqueue(call *call) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return errClientClosed
	case c.ended != nil:
		return c.errLocked()
	case len(c.pending) >= maxAbandoned:
		return errStuck
	}
	c.pending = append(c.pending, call)
	return nil
}

// write sends a whole message before the deadline, or marks the connection
// as torn.
func (c *Client) write(b []byte, deadline time.Time) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.writeLocked(b, deadline)
}

func (c *Client) writeLocked(b []byte, deadline time.Time) error {
	if err := c.conn.SetWriteDeadline(deadline); err != nil {
		return err
	}
	if _, err := c.conn.Write(b); err != nil {
		c.torn = true
		return err
	}
	return nil
}

// sendClose sends CLOSE unless that would end up inside of another message.
// Servers take the end of the connection for the same.
func (c *Client) sendClose() {
	if !c.writing.TryLock() {
		return
	}
	defer c.writing.Unlock()
	if !c.torn {
		_ = c.writeLocked(rpcap.Append(nil, &rpcap.Close{}), time.Now().Add(closeTimeout)) // the connection is closed next, whatever comes of it
	}
}

// fail ends the control connection for a reason of ours; the reader does the
// rest.
func (c *Client) fail(err error) {
	c.mu.Lock()
	if c.ended == nil {
		c.ended = err
	}
	c.mu.Unlock()
	c.conn.Close()
}

// readReplies hands every message on the control connection to whom it
// concerns, until the connection ends.
func (c *Client) readReplies() {
	defer close(c.readerDone)
	r := rpcap.NewReader(c.conn, nil)
	for {
		h, body, err := r.Next()
		if err != nil {
			c.closeInline()
			c.end(err)
			return
		}
		if h.Type == rpcap.TypePacket {
			c.routePacket(h, body)
			continue
		}
		if call, err := c.route(h, body); call != nil {
			if err == nil && call.answered != nil {
				call.answered()
			}
			call.done <- err
		}
	}
}

// end fails whatever waits for the control connection.
func (c *Client) end(err error) {
	c.conn.Close() // also after an error that is not the connection's, such as a body too long
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		c.ended = errClientClosed
	case c.ended == nil:
		c.ended = terminated(err)
	}
	for _, call := range c.pending {
		call.done <- c.errLocked()
	}
	c.pending = nil
	for s := range c.streams {
		s.controlEnded(c.errLocked())
	}
}

// route takes one message. It returns the request that it answers, nil if it
// answers none, and what to tell of the answer.
func (c *Client) route(h rpcap.Header, body []byte) (*call, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case h.Type == rpcap.TypeError && h.Version == rpcap.Version:
		return c.routeError(h, body)
	case h.Type&rpcap.TypeReply != 0:
		c.skipAbandoned(h.Type)
	}
	if len(c.pending) == 0 {
		return nil, nil // such as the reply 0x86 that some servers give to CLOSE
	}
	call := c.pending[0]
	c.pending = c.pending[1:]
	switch {
	case h.Version != rpcap.Version:
		return call, &VersionError{Version: h.Version}
	case h.Type != call.sent|rpcap.TypeReply:
		return call, &ReplyError{Sent: call.sent, Got: h.Type}
	}
	return call, rpcap.Decode(h, body, call.reply)
}

// skipAbandoned drops calls that got no answer at all, if t is the answer to
// a later one. mu is held.
func (c *Client) skipAbandoned(t rpcap.Type) {
	for i, call := range c.pending {
		if t == call.sent|rpcap.TypeReply {
			c.pending = c.pending[i:]
			return
		}
		if !call.abandoned {
			return
		}
	}
}

// routeError takes an ERROR: the answer to the oldest request, or news about
// the capture. That a capture's read failed is always news: no request is
// answered with it. It returns what route does. mu is held.
func (c *Client) routeError(h rpcap.Header, body []byte) (*call, error) {
	var m rpcap.Error
	if err := rpcap.Decode(h, body, &m); err != nil {
		return nil, nil // can't be: every body is a text
	}
	remote := &rpcap.RemoteError{Code: m.Code, Text: m.Text}
	if len(c.pending) > 0 && (m.Code != rpcap.CodeRead || len(c.streams) == 0) {
		call := c.pending[0]
		c.pending = c.pending[1:]
		return call, remote
	}
	if c.unsolicited == nil {
		c.unsolicited = remote
	}
	for s := range c.streams {
		s.controlEnded(c.unsolicited)
	}
	return nil, nil
}
