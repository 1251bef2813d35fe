package wire

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"capstan/bench/internal/traffic"
)

// Config tells where and how fast to send.
type Config struct {
	Interface int     // index
	Rate      float64 // frames per second, 0 = flat out
	// Burst is the number of frames sent back to back, followed by a pause
	// that keeps Rate; 0 = as few as the clock allows at that rate.
	Burst    int
	Count    uint64        // frames, 0 = as many as there are
	Duration time.Duration // 0 = no limit
	// Queue sends through the interface's queueing discipline. It costs time,
	// but only so are the frames seen by captures on the sending interface
	// itself (packet(7), PACKET_QDISC_BYPASS).
	Queue bool
}

func (c *Config) validate() error {
	if c.Interface <= 0 {
		return fmt.Errorf("wire: interface index %d", c.Interface)
	}
	if c.Burst > 0 && c.Rate == 0 {
		return errors.New("wire: bursts need a rate, flat out is one burst")
	}
	return checkSchedule(c.Rate, c.Burst, c.Duration)
}

// maxBatch bounds the frames of one system call, and with it how much older
// than its sending a mark's time can be (about 30 µs).
const maxBatch = 64

// Send sends frames of g until there are no more, or until Count, Duration or
// the end of ctx. It works in the network namespace of the calling thread,
// which the caller must hold (runtime.LockOSThread, netns.Do).
//
// At the end of Duration open conversations are still finished; at Count and
// the end of ctx they are cut. The end of ctx is no error.
func Send(ctx context.Context, g *traffic.Generator, c Config) (Result, error) {
	if err := c.validate(); err != nil {
		return Result{}, err
	}
	before, err := readCounters(c.Interface)
	if err != nil {
		return Result{}, err
	}
	sock, err := openSocket(c.Interface, c.Queue)
	if err != nil {
		return Result{}, err
	}
	restore := sharpenTimers()
	defer restore()

	s := sender{config: c, generator: g, socket: sock, pace: newPacer(c.Rate, c.Burst, time.Now())}
	err = s.run(ctx)
	s.result.Elapsed = s.pace.elapsed()
	s.result.Behind = s.pace.behind
	if seconds := s.result.Elapsed.Seconds(); seconds > 0 {
		s.result.Rate = float64(s.result.Frames) / seconds
	}
	err = errors.Join(err, sock.close())
	after, countErr := readCounters(c.Interface)
	if countErr == nil {
		s.result.Interface = after.since(before)
	}
	return s.result, errors.Join(err, countErr)
}

// sender is one run of Send.
type sender struct {
	config    Config
	generator *traffic.Generator
	socket    *socket
	pace      pacer
	batch     [maxBatch]traffic.Frame
	result    Result
}

// run sends batch after batch. Frames are made before their time has come, so
// that a mark is as fresh as can be.
func (s *sender) run(ctx context.Context) error {
	for ctx.Err() == nil {
		if s.config.Duration > 0 && s.pace.next().Sub(s.pace.begin) >= s.config.Duration {
			s.generator.Finish()
		}
		n := s.fill(s.size())
		if n == 0 {
			s.pace.finish(ctx)
			return nil
		}
		if !s.pace.wait(ctx) {
			return nil
		}
		if err := s.send(ctx, n); err != nil {
			return err
		}
		s.pace.sent(n)
	}
	return nil
}

// size is the number of frames to send next.
func (s *sender) size() int {
	n := min(maxBatch, s.pace.left)
	if s.config.Count > 0 {
		n = int(min(uint64(n), s.config.Count-s.result.Frames))
	}
	return n
}

func (s *sender) fill(n int) int {
	for i := range n {
		if !s.generator.Next(&s.batch[i]) {
			return i
		}
	}
	return n
}

// send hands the first n frames of the batch to the kernel. A frame that the
// kernel has no room for is sent again until it has.
func (s *sender) send(ctx context.Context, n int) error {
	now := time.Now().UnixNano()
	for i := range s.batch[:n] {
		s.batch[i].Stamp(now)
		s.socket.put(i, s.batch[i].Data)
	}
	var refused time.Time // since then, zero: not
	for done := 0; done < n; {
		taken, err := s.socket.send(done, n)
		switch {
		case err == nil:
			refused = time.Time{}
			for _, f := range s.batch[done : done+taken] {
				s.result.Bytes += uint64(len(f.Data))
			}
			s.result.Frames += uint64(taken)
			done += taken
		case err == unix.EINTR:
		case err == unix.ENOBUFS || err == unix.EAGAIN:
			s.result.Retries++
			if ctx.Err() != nil {
				return nil
			}
			if refused.IsZero() {
				refused = time.Now()
			} else if time.Since(refused) > patience {
				return fmt.Errorf("wire: frame %d: the interface has taken none for %v: %w", s.batch[done].Seq, patience, err)
			}
			_ = unix.Nanosleep(&unix.Timespec{Nsec: int64(retryPause)}, nil) // cut short is fine
		case err == unix.EMSGSIZE:
			return fmt.Errorf("wire: send frame %d of %d bytes, more than the interface takes: %w",
				s.batch[done].Seq, len(s.batch[done].Data), err)
		default:
			return fmt.Errorf("wire: send frame %d: %w", s.batch[done].Seq, err)
		}
	}
	return nil
}

const (
	// retryPause gives whoever holds the buffers time to give some back.
	retryPause = 20 * time.Microsecond
	// patience bounds how long not a single frame is taken, as when the other
	// end of the cable is down.
	patience = time.Second
)
