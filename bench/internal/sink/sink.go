//go:build linux

package sink

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"os"
	"sync/atomic"
	"time"

	"capstan/bench/internal/cpu"
	"capstan/pkg/capture"
	"capstan/pkg/rpcap"
)

// Config says what to capture.
type Config struct {
	URL         rpcap.URL     // server and device
	Datagrams   bool          // frames over UDP
	TLS         *tls.Config   // for rpcaps
	SnapLen     int           // 0: whole frames
	ReadTimeout time.Duration // how long the server may keep a frame back; 0 lets it choose
	Promiscuous bool
	Verify      Verify
	VLAN        []uint16 // each test frame must have one of these as its 802.1Q tag; none: tags aren't looked at
}

// Sink is a running capture. Its methods are for one goroutine.
type Sink struct {
	session session
	tally   tally // the reader's until done
	began   time.Duration

	progress atomic.Uint64 // frames up to the last read
	done     chan struct{} // closed when the reader has ended
	err      error         // why; valid after done
}

const (
	settleInterval = 10 * time.Millisecond
	// endTimeout bounds the way from the end of the capture to the last frame.
	endTimeout = 10 * time.Second
)

// Open starts to capture. The caller has to Close the Sink.
func Open(ctx context.Context, c Config) (*Sink, error) {
	open := openStream
	if c.Datagrams {
		open = openDatagrams
	}
	session, err := open(ctx, c)
	if err != nil {
		return nil, err
	}
	s := &Sink{session: session, tally: tally{verify: c.Verify, vlan: c.VLAN}, done: make(chan struct{})}
	if s.began, err = cpu.Clock(os.Getpid()); err != nil {
		return nil, errors.Join(err, session.close())
	}
	go s.read() // ends with the session; Close waits
	return s, nil
}

// read takes frames. Those that one call of the kernel brought arrived at the
// same time.
func (s *Sink) read() {
	defer close(s.done)
	var f capture.Frame
	var now int64
	for {
		fresh := !s.session.buffered()
		if err := s.session.next(&f); err != nil {
			s.err = err
			return
		}
		if fresh {
			now = time.Now().UnixNano()
			s.progress.Store(s.tally.frames + 1)
		}
		s.tally.add(&f, now)
	}
}

// Settle waits until no frame has come for quiet, or the capture is over, or
// ctx is. It reports whether it got quiet.
func (s *Sink) Settle(ctx context.Context, quiet time.Duration) bool {
	tick := time.NewTicker(settleInterval)
	defer tick.Stop()
	// In ticks, since a clock goes on while a busy machine holds the reader up.
	ticks := quiet / settleInterval
	last := s.progress.Load()
	for left := ticks; left > 0; left-- {
		select {
		case <-s.done:
			return true
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
		if p := s.progress.Load(); p != last {
			last, left = p, ticks+1
		}
	}
	return true
}

// Done is closed when the capture is over.
func (s *Sink) Done() <-chan struct{} { return s.done }

// End asks the server for its counters, ends the capture, takes what is still
// under way and returns the result.
func (s *Sink) End(ctx context.Context) Result {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	stats, statsErr := s.session.stats(ctx)
	used, cpuErr := cpu.Clock(os.Getpid())
	endErr := s.session.end(ctx)
	select {
	case <-s.done:
	case <-ctx.Done():
		endErr = errors.Join(endErr, errors.New("the data did not end after the capture's end"))
	}
	s.Close()
	r := s.tally.result()
	r.LinkType = s.session.linkType().String()
	r.Holes = s.session.holes()
	r.CPU = used - s.began
	if statsErr == nil {
		r.Server = &ServerCounts{
			Received: stats.Received, InterfaceDropped: stats.InterfaceDropped,
			KernelDropped: stats.KernelDropped, Sent: stats.Sent,
		}
	} else {
		r.StatsError = statsErr.Error()
	}
	if s.err != io.EOF {
		endErr = errors.Join(s.err, endErr)
	}
	if err := errors.Join(endErr, cpuErr); err != nil {
		r.Error = err.Error()
	}
	return r
}

// Close ends the session and waits for the Sink's goroutine.
func (s *Sink) Close() error {
	err := s.session.close()
	<-s.done
	return err
}
