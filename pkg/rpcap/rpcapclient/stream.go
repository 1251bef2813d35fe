package rpcapclient

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"capstan/pkg/capture"
	"capstan/pkg/rpcap"
)

// Stream is the data connection of a capture: PACKET messages, read with as few
// calls of the kernel as possible. Next, Buffered and the frames are for one
// goroutine at a time; the other methods are for any.
type Stream struct {
	// Immutable after Start.
	conn     dataConn
	client   *Client // nil in tests of the Stream alone
	framer   framer
	linkType capture.LinkType
	grace    time.Duration // see controlGrace
	reorders bool          // frames may overtake one another
	swap     func([]byte)  // converts fields in the server's byte order; nil if there are none

	// Owned by the caller of Next.
	buf        []byte // buf[start:end] is unread
	start, end int
	skip       uint32 // bytes to skip of a message that is no PACKET
	ahead      ahead
	next       uint32 // expected npkt
	err        error  // the first permanent error
	counted    counts // of the frames so far

	// What Stats tells: written by the caller of Next, read by anybody.
	frames, bytes, missing atomic.Uint64

	closed    chan struct{}
	closing   sync.Once
	expectEnd atomic.Bool // the end of the data is what we asked for

	mu sync.Mutex
	// Guarded by mu.
	deadline time.Time     // of the caller; zero: none
	lost     error         // what the control connection told, see controlEnded
	lostEnd  time.Time     // when a stream that is lost ends, unless more data arrives
	lastTry  bool          // lostEnd has passed and only what is there already is read
	lostChan chan struct{} // closed when lost is set
}

// ahead is the PACKET that the buffer starts with, if Buffered has looked.
type ahead struct {
	header rpcap.PacketHeader
	n      int // its length; 0: nobody has looked
}

// counts are counters of one goroutine.
type counts struct{ frames, bytes, missing uint64 }

// dataConn is what a Stream needs of a net.Conn.
type dataConn interface {
	io.ReadCloser
	SetReadDeadline(time.Time) error
}

const (
	streamBufferLen = 256 << 10
	// controlGrace is how long a Stream whose data has ended waits for the
	// reason on the control connection, and how long a Stream whose control
	// connection has failed waits for more data. They are two connections:
	// what was sent first may arrive last.
	controlGrace = time.Second
)

// newStream takes conn over.
func newStream(conn dataConn, snapLen int, linkType capture.LinkType) *Stream {
	_, reorders := conn.(*datagramConn)
	return &Stream{
		reorders: reorders,
		conn:     conn,
		framer:   framer{maxFrame: uint32(snapLen) + frameSlack},
		linkType: linkType,
		grace:    controlGrace,
		buf:      make([]byte, streamBufferLen),
		next:     1,
		closed:   make(chan struct{}),
		lostChan: make(chan struct{}),
	}
}

// Next waits for the next frame. f.Data lies in the Stream's buffer and is
// valid until the next call. f.Len is never less than len(f.Data).
//
// io.EOF, unwrapped, is the end of the data after an EndCapture. If the server
// ends the connection on its own, the error is a [*TerminatedError] around
// io.EOF, or around io.ErrUnexpectedEOF in the middle of a message; if the
// server told why on the control connection, it is that [*rpcap.RemoteError].
// These errors are permanent. After an os.ErrDeadlineExceeded the call may be
// repeated and goes on where it stopped, even inside of a message.
//
// Next: the caller; in the interceptor, engine.Engine.Frame.
func (s *Stream) Next(f *capture.Frame) error {
	if s.ahead.n > 0 {
		s.deliver(f, &s.ahead.header, s.ahead.n)
		s.ahead.n = 0
		return nil
	}
	if s.err != nil {
		return s.err
	}
	for {
		for s.skip > 0 {
			if err := s.drop(); err != nil {
				return err
			}
		}
		p, n, err := s.framer.parse(s.buf[s.start:s.end])
		switch {
		case err != nil:
			s.err = fmt.Errorf("data connection: %w", err)
			s.publish()
			return s.err
		case p.skip:
			s.skip = uint32(n)
		case s.end-s.start < n:
			if err := s.fill(n); err != nil {
				return err
			}
		default:
			s.deliver(f, &p.header, n)
			return nil
		}
	}
}

// deliver takes the n bytes of the PACKET that the buffer starts with.
func (s *Stream) deliver(f *capture.Frame, h *rpcap.PacketHeader, n int) {
	from := s.start + rpcap.PacketOverhead
	to := from + int(h.CapLen)
	f.Timestamp = h.Timestamp
	f.Data = s.buf[from:to:to]
	if s.swap != nil {
		s.swap(f.Data)
	}
	f.Len = max(int(h.Len), int(h.CapLen))
	f.LinkType = s.linkType
	s.start += n
	s.counted.frames++
	s.counted.bytes += uint64(h.CapLen)
	s.count(h.Number)
	if s.start == s.end {
		s.publish()
	}
}

// count finds holes in the numbers of the frames. Numbers that run backwards
// are no hole: a datagram that another one overtook, which was counted as
// missing, or else a server with its own idea.
func (s *Stream) count(number uint32) {
	hole := number - s.next
	switch {
	case hole < 1<<31:
		s.counted.missing += uint64(hole)
	case s.reorders:
		if s.counted.missing > 0 {
			s.counted.missing--
		}
		return
	}
	s.next = number + 1
}

// publish lets Stats tell what has been counted.
func (s *Stream) publish() {
	s.frames.Store(s.counted.frames)
	s.bytes.Store(s.counted.bytes)
	s.missing.Store(s.counted.missing)
}

// Buffered reports whether Next returns without waiting.
func (s *Stream) Buffered() bool {
	if s.err != nil || s.ahead.n > 0 || s.look() {
		return true
	}
	s.publish()
	return false
}

// look is Buffered where the buffer has to be looked at.
func (s *Stream) look() bool {
	start := s.start
	if int64(s.end-start) <= int64(s.skip) {
		return false
	}
	for start += int(s.skip); ; {
		p, n, err := s.framer.parse(s.buf[start:s.end])
		if err != nil {
			return true // the error
		}
		if s.end-start < n || p.skip && s.end-start == n {
			return false
		}
		if !p.skip {
			if start == s.start {
				s.ahead = ahead{p.header, n}
			}
			return true
		}
		start += n
	}
}

// StreamStats are the counters of a Stream.
type StreamStats struct {
	Frames  uint64 // delivered by Next
	Bytes   uint64 // captured bytes of these frames
	Missing uint64 // frames that the server numbered and that never arrived
	// Rejected counts datagrams that were not one PACKET of the server.
	Rejected uint64
}

// Stats returns the counters. Frames that were received together with others are
// counted when the last of them is taken.
func (s *Stream) Stats() StreamStats {
	stats := StreamStats{Frames: s.frames.Load(), Bytes: s.bytes.Load(), Missing: s.missing.Load()}
	if d, ok := s.conn.(*datagramConn); ok {
		stats.Rejected = d.rejected.Load()
	}
	return stats
}
