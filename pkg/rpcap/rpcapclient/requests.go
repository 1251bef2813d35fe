package rpcapclient

import (
	"context"
	"errors"
	"fmt"
	"time"

	"capstan/pkg/capture"
	"capstan/pkg/rpcap"
)

// Every request returns a [*rpcap.RemoteError] in its chain if the server
// answered with an ERROR, and a [*ReplyError] if it answered with something
// else; the session goes on after both.

// Interfaces lists the server's interfaces. The caller owns the list.
func (c *Client) Interfaces(ctx context.Context) ([]rpcap.Interface, error) {
	var reply rpcap.FindAllIfReply
	if err := c.request(ctx, &rpcap.FindAllIfRequest{}, &reply); err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	return reply.Interfaces, nil
}

// Open chooses the device to capture from, with the parameters that
// [rpcap.ParseDevice] knows if the server does, and returns its link type.
func (c *Client) Open(ctx context.Context, device string) (capture.LinkType, error) {
	if len(device) > rpcap.MaxDeviceName {
		return 0, fmt.Errorf("open: device name of %d bytes, more than %d", len(device), rpcap.MaxDeviceName)
	}
	var reply rpcap.OpenReply
	err := c.inTurn(ctx, func(ctx context.Context) error {
		if err := c.exchange(ctx, &rpcap.OpenRequest{Device: device}, &reply); err != nil {
			return err
		}
		c.linkType, c.opened = reply.LinkType, true
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("open %q: %w", device, err)
	}
	return reply.LinkType, nil
}

// StartRequest says what [Client.Start] captures.
type StartRequest struct {
	// SnapLen is how many bytes of each frame are delivered. 0, and whatever
	// is above it, means [rpcap.MaxSnapLen].
	SnapLen int
	// ReadTimeout is how long the server may keep a frame to send it together
	// with others. The reference on Linux takes 0 for "until there are enough".
	ReadTimeout time.Duration
	// Promiscuous asks for frames to other stations.
	Promiscuous bool
	// Filter is a classic BPF program for the link type that Open returned,
	// at most [rpcap.MaxFilterLen] instructions. Empty means every frame.
	Filter []rpcap.Instruction
	// Transport is the way of the frames.
	Transport Transport
}

// bpfReturn is the opcode of "ret #k" (BPF_RET|BPF_K).
const bpfReturn = 0x06

func (r *StartRequest) message() (*rpcap.StartCapRequest, error) {
	m := &rpcap.StartCapRequest{SnapLen: uint32(snapLen(r.SnapLen)), ReadTimeout: r.ReadTimeout, Filter: r.Filter}
	if r.Promiscuous {
		m.Flags = rpcap.StartCapPromiscuous
	}
	if len(m.Filter) == 0 {
		m.Filter = everyFrame(m.SnapLen)
	}
	return m, checkFilter(m.Filter)
}

// everyFrame is the program that takes snapLen bytes of every frame.
func everyFrame(snapLen uint32) []rpcap.Instruction {
	return []rpcap.Instruction{{Op: bpfReturn, K: snapLen}}
}

// snapLen clamps like libpcap's client does.
func snapLen(n int) int {
	if n <= 0 || n > rpcap.MaxSnapLen {
		return rpcap.MaxSnapLen
	}
	return n
}

func checkFilter(filter []rpcap.Instruction) error {
	if len(filter) > rpcap.MaxFilterLen {
		return fmt.Errorf("filter of %d instructions, more than %d", len(filter), rpcap.MaxFilterLen)
	}
	return nil
}

var errNotOpened = errors.New("no device has been opened")

// Start begins a capture on the device opened last. The Stream is closed with
// the Client, if not earlier. A session has one capture at a time: a second
// Start needs an EndCapture before it.
//
// If the server accepts and the data connection fails, the session is of no
// use any more but for Close.
func (c *Client) Start(ctx context.Context, r StartRequest) (*Stream, error) {
	m, err := r.message()
	if err != nil {
		return nil, fmt.Errorf("start capture: %w", err)
	}
	data, err := c.openChannel(ctx, r.Transport)
	if err != nil {
		return nil, fmt.Errorf("start capture: %w", err)
	}
	defer data.close()
	data.announce(m)
	var link capture.LinkType
	var reply rpcap.StartCapReply
	err = c.inTurn(ctx, func(ctx context.Context) error {
		if !c.opened {
			return errNotOpened
		}
		c.mu.Lock()
		c.unsolicited = nil // of an earlier capture
		c.mu.Unlock()
		link = c.linkType
		return c.exchangeThen(ctx, m, &reply, func() {
			if reply.DataPort == 0 && m.DataPort == 0 { // neither side waits for a connection
				c.openInline()
			}
		})
	})
	var conn dataConn
	if err == nil {
		conn, err = c.connectData(ctx, data, reply)
	}
	if err != nil {
		return nil, fmt.Errorf("start capture: %w", err)
	}
	s := newStream(direct(conn), int(m.SnapLen), link)
	s.grace = c.grace
	if c.order != hostOrder() {
		s.swap = swapHostFields(link)
	}
	if err := c.adopt(s); err != nil {
		return nil, fmt.Errorf("start capture: %w", err)
	}
	return s, nil
}

// connectData makes the data connection. If that fails, an ERROR that the
// server sent meanwhile says more than the connection's.
func (c *Client) connectData(ctx context.Context, data channel, reply rpcap.StartCapReply) (dataConn, error) {
	conn, err := data.connect(ctx, reply)
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.unsolicited != nil {
			err = fmt.Errorf("%w (%w)", c.unsolicited, err)
		}
		return nil, err
	}
	return conn, nil
}

// adopt makes s a stream of the session.
func (c *Client) adopt(s *Stream) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		s.conn.Close()
		return errClientClosed
	}
	s.client = c
	c.streams[s] = struct{}{}
	if err := c.errLocked(); err != nil { // it came before there was a stream to tell
		s.controlEnded(err)
	}
	return nil
}

// UpdateFilter replaces the filter of the running capture, at most
// [rpcap.MaxFilterLen] instructions; empty means every frame. Frames that the old one let through may
// still arrive after it has returned.
func (c *Client) UpdateFilter(ctx context.Context, filter []rpcap.Instruction) error {
	if len(filter) == 0 {
		filter = everyFrame(rpcap.MaxSnapLen)
	}
	err := checkFilter(filter)
	if err == nil {
		err = c.request(ctx, &rpcap.UpdateFilterRequest{Filter: filter}, &rpcap.UpdateFilterReply{})
	}
	if err != nil {
		return fmt.Errorf("update filter: %w", err)
	}
	return nil
}

// SetSampling thins the next capture out: [rpcap.SamplingOneInN] keeps one
// frame in value, [rpcap.SamplingFirstAfterMS] one and then none for value
// milliseconds. libpcap's rpcapd accepts it and doesn't do it.
func (c *Client) SetSampling(ctx context.Context, method rpcap.SamplingMethod, value uint32) error {
	if err := c.request(ctx, &rpcap.SetSamplingRequest{Method: method, Value: value}, &rpcap.SetSamplingReply{}); err != nil {
		return fmt.Errorf("set sampling: %w", err)
	}
	return nil
}

// Stats returns the server's counters of the capture.
func (c *Client) Stats(ctx context.Context) (rpcap.StatsReply, error) {
	var reply rpcap.StatsReply
	if err := c.request(ctx, &rpcap.StatsRequest{}, &reply); err != nil {
		return rpcap.StatsReply{}, fmt.Errorf("statistics: %w", err)
	}
	return reply, nil
}

// EndCapture stops the capture and keeps the session. The Stream then ends with
// io.EOF, after the frames that were under way; it should be read meanwhile, as
// the reference can't stop while it waits for its client to read.
func (c *Client) EndCapture(ctx context.Context) error {
	err := c.inTurn(ctx, func(ctx context.Context) error {
		c.expectEnd(true)
		err := c.exchangeThen(ctx, &rpcap.EndCapRequest{}, &rpcap.EndCapReply{}, c.finishData)
		var remote *rpcap.RemoteError
		if errors.As(err, &remote) {
			c.expectEnd(false)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("end capture: %w", err)
	}
	return nil
}

// finisher is a dataConn whose end is not told on itself.
type finisher interface {
	// finish makes Read return io.EOF after what is under way.
	finish()
}

// finishData ends the data connections that the server has no way to end. The
// reader calls it with the ENDCAP_REPLY.
func (c *Client) finishData() {
	c.closeInline()
	c.mu.Lock()
	defer c.mu.Unlock()
	for s := range c.streams {
		if f, ok := s.conn.(finisher); ok {
			f.finish()
		}
	}
}

// expectEnd tells the streams whether the end of their data is what we asked
// for.
func (c *Client) expectEnd(yes bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for s := range c.streams {
		s.expectEnd.Store(yes)
	}
}
