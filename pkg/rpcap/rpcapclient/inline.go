package rpcapclient

import (
	"errors"
	"net"

	"capstan/pkg/rpcap"
)

// Frames on the control connection: servers that name no data port send PACKETs
// between their replies. The goroutine that reads the control connection writes
// them into a pipe, of which the Stream has the other end. So the frames have to
// be read for the replies behind them to arrive.

// openInline makes the pipe. The reader calls it between the STARTCAP_REPLY and
// what follows.
func (c *Client) openInline() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.inline != nil {
		return
	}
	c.inlineStream, c.inline = net.Pipe()
}

// errInlineTaken is a server that starts a second capture on the control
// connection beside the first.
var errInlineTaken = errors.New("data connection: another stream has the frames on the control connection")

// takeInline returns the Stream's end of the pipe. The reader made it before it
// told that the reply has come, and may have ended its own end since.
func (c *Client) takeInline() (dataConn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	conn := c.inlineStream
	c.inlineStream = nil
	switch {
	case conn != nil:
		return conn, nil
	case c.closed:
		return nil, errClientClosed
	}
	return nil, errInlineTaken
}

// routePacket takes a PACKET on the control connection.
func (c *Client) routePacket(h rpcap.Header, body []byte) {
	c.mu.Lock()
	inline := c.inline
	c.mu.Unlock()
	if inline == nil {
		return // of a capture that has ended
	}
	_, err := inline.Write(rpcap.AppendHeader(nil, h))
	if err == nil {
		_, err = inline.Write(body)
	}
	if err != nil { // the Stream was closed
		c.closeInline()
	}
}

// closeInline ends the Stream of frames on the control connection, if there is
// one. Start may still take it, and find its end.
func (c *Client) closeInline() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inline != nil {
		c.inline.Close()
		c.inline = nil
	}
}
