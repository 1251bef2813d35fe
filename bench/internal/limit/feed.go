//go:build linux

package limit

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"capstan/bench/internal/traffic"
	"capstan/pkg/afpacket"
	"capstan/pkg/capture"
	"capstan/pkg/rpcap"
)

const (
	// feedWrite is the size of one write, as rpcapd's.
	feedWrite = 256 << 10
	// feedBlock is how much a ring holds back at most, the length of a block.
	feedBlock = afpacket.DefaultBlockLen
	// FeedDelay is the time from the start of a capture to its first frame,
	// for whoever measures to be ready.
	FeedDelay = 100 * time.Millisecond
)

// FeedConfig says what to send.
type FeedConfig struct {
	Network, Address string  // to listen on: "tcp" or "unix"
	Size             int     // length of the frames
	Rate             float64 // frames per second; 0 as fast as the client takes them
	Duration         time.Duration
}

// Feed is an RPCAP server that captures nothing: to the client that starts a
// capture it writes PACKETs prepared before, in the batches in which a ring
// would yield them: one per read timeout, or more if a block fills earlier. They
// are the same few test frames again and again.
type Feed struct {
	cfg      FeedConfig
	listener net.Listener
}

// ListenFeed opens the server. The caller has to Close it.
func ListenFeed(c FeedConfig) (*Feed, error) {
	if c.Size < 1 || c.Size > rpcap.MaxSnapLen || c.Rate < 0 || c.Duration <= 0 {
		return nil, fmt.Errorf("feed of %d bytes at %v/s for %v: out of range", c.Size, c.Rate, c.Duration)
	}
	l, err := net.Listen(c.Network, c.Address)
	if err != nil {
		return nil, err
	}
	return &Feed{cfg: c, listener: l}, nil
}

// Addr returns where the server listens.
func (f *Feed) Addr() net.Addr { return f.listener.Addr() }

// Close ends the server, a Serve under way too.
func (f *Feed) Close() error { return f.listener.Close() }

// Serve serves one session, until the client or ctx ends it.
func (f *Feed) Serve(ctx context.Context) error {
	conn, err := f.listener.Accept()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	defer conn.Close()
	s := &feedSession{feed: f, control: conn, reader: rpcap.NewReader(conn, nil)}
	defer s.end()
	for {
		h, body, err := s.reader.Next()
		if err != nil || h.Type == rpcap.TypeClose {
			return nil // the client has gone
		}
		if err := s.answer(ctx, h, body); err != nil {
			return fmt.Errorf("%v: %w", h.Type, err)
		}
	}
}

type feedSession struct {
	feed    *Feed
	control net.Conn
	reader  *rpcap.Reader

	cancel context.CancelFunc // of the sender, nil if there is none
	done   chan struct{}      // closed when it has ended
}

func (s *feedSession) answer(ctx context.Context, h rpcap.Header, body []byte) error {
	var reply rpcap.Message
	switch h.Type {
	case rpcap.TypeAuthRequest:
		reply = &rpcap.AuthReply{ByteOrder: binary.LittleEndian}
	case rpcap.TypeOpenRequest:
		reply = &rpcap.OpenReply{LinkType: capture.LinkTypeEthernet}
	case rpcap.TypeStartCapRequest:
		var m rpcap.StartCapRequest
		if err := rpcap.Decode(h, body, &m); err != nil {
			return err
		}
		return s.start(ctx, max(m.ReadTimeout, time.Millisecond))
	case rpcap.TypeStatsRequest:
		reply = &rpcap.StatsReply{}
	case rpcap.TypeEndCapRequest:
		s.end()
		reply = &rpcap.EndCapReply{}
	default:
		return errors.New("not served")
	}
	return s.say(reply)
}

func (s *feedSession) say(m rpcap.Message) error {
	_, err := s.control.Write(rpcap.Append(nil, m))
	return err
}

// start opens the data connection and starts the sender.
func (s *feedSession) start(ctx context.Context, timeout time.Duration) error {
	if s.cancel != nil {
		return errors.New("a capture runs")
	}
	address, port := "127.0.0.1:0", uint16(1)
	if s.feed.cfg.Network == "unix" {
		address = s.feed.cfg.Address + "." + strconv.Itoa(int(port))
	}
	l, err := net.Listen(s.feed.cfg.Network, address)
	if err != nil {
		return err
	}
	defer l.Close()
	if a, ok := l.Addr().(*net.TCPAddr); ok {
		port = a.AddrPort().Port()
	}
	if err := s.say(&rpcap.StartCapReply{DataPort: port}); err != nil {
		return err
	}
	conn, err := l.Accept()
	if err != nil {
		return err
	}
	ctx, s.cancel = context.WithCancel(ctx)
	s.done = make(chan struct{})
	go func() { // ended by end
		defer close(s.done)
		defer conn.Close()
		stop := context.AfterFunc(ctx, func() { conn.Close() }) // ends a write, unless stop comes first
		defer stop()
		_, _ = s.feed.cfg.send(ctx, conn, timeout) // the error is that the client left
		<-ctx.Done()                               // the stream stays open until the capture ends
	}()
	return nil
}

func (s *feedSession) end() {
	if s.cancel != nil {
		s.cancel()
		<-s.done
		s.cancel = nil
	}
}

// packets returns n test frames as PACKETs, for the client to have the same work
// with as with a capture's.
func (c *FeedConfig) packets(n int) (buf []byte, err error) {
	g, err := traffic.New(traffic.Plan{Size: traffic.Fixed(c.Size)})
	if err != nil {
		return nil, err
	}
	var f traffic.Frame
	for i := range n {
		g.Next(&f)
		var header [rpcap.PacketOverhead]byte
		h := rpcap.PacketHeader{CapLen: uint32(c.Size), Len: uint32(c.Size), Number: uint32(i + 1)}
		h.Put(header[:])
		buf = append(append(buf, header[:]...), f.Data...)
	}
	return buf, nil
}

// send writes frames as they are due, each timeout or as soon as a write is
// full: at a rate as many as the whole duration has, however late the last ones are.
func (c *FeedConfig) send(ctx context.Context, conn net.Conn, timeout time.Duration) (sent uint64, err error) {
	each := rpcap.PacketOverhead + c.Size
	perWrite := max(feedWrite/each, 1)
	buf, err := c.packets(perWrite)
	if err != nil {
		return 0, err
	}
	time.Sleep(FeedDelay)
	begin := time.Now()
	pause := timeout
	if c.Rate > 0 {
		pause = min(timeout, time.Duration(feedBlock/float64(c.Size)/c.Rate*1e9))
	}
	for elapsed := time.Duration(0); elapsed < c.Duration && ctx.Err() == nil; {
		due := perWrite
		if c.Rate > 0 {
			time.Sleep(pause)
		}
		elapsed = time.Since(begin)
		if c.Rate > 0 {
			due = int(c.Rate*min(elapsed, c.Duration).Seconds()) - int(sent)
		}
		for due > 0 {
			n := min(due, perWrite)
			if _, err := conn.Write(buf[:n*each]); err != nil {
				return sent, err
			}
			sent += uint64(n)
			due -= n
		}
	}
	return sent, nil
}
