package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Options of a spool.
type Options struct {
	// Dir is created if it isn't there, for this user alone.
	Dir string
	// MaxBytes bounds what the segments hold together; 0 = 1 GiB.
	MaxBytes int64
	// SegmentBytes is when a new segment is begun; 0 = 1/16 of MaxBytes, at
	// most 64 MiB. Disk space is given back by whole segments.
	SegmentBytes int64
}

const (
	defaultMaxBytes = 1 << 30
	maxSegmentBytes = 64 << 20
	// ackInterval is how often the acknowledgement is written down.
	ackInterval = 200 * time.Millisecond
)

// ErrFull means that the record doesn't fit into what Options.MaxBytes leaves.
// There is room again when records have been acknowledged.
var ErrFull = errors.New("spool is full")

// TooLongError is a record, or what an Append has altogether, that will never
// fit: longer than [MaxRecord], or than Options.MaxBytes.
type TooLongError struct {
	Len int64
	Max int64
}

// Error tells both lengths.
func (e *TooLongError) Error() string {
	return fmt.Sprintf("spool: %d bytes to append: more than the %d that are ever taken", e.Len, e.Max)
}

// Stats are the counters of a spool. At any time
// Recovered + Appended = Acked + Lost + Pending.
type Stats struct {
	Recovered uint64 // records found by Open
	Appended  uint64 // by Append
	Acked     uint64 // by Ack
	Lost      uint64 // in damaged parts of segments
	Pending   uint64 // not acknowledged yet
	Bytes     int64  // of the segments on disk
	// TruncatedBytes were cut off the last segment by Open: the rest of an
	// Append that did not return.
	TruncatedBytes int64
}

// Spool is an open spool. Append may be called from any goroutine; Next and
// Ack from one at a time.
type Spool struct {
	dir          string
	maxBytes     int64
	segmentBytes int64
	lock         *os.File

	joining sync.Mutex
	group   *group // guarded by joining: waits for its write; nil = none

	appending sync.Mutex // serialises writes
	// Owned by who holds appending.
	out     *os.File // the last segment; nil: the next write begins one
	outSize int64    // of what is durable in it

	mu sync.Mutex
	// Guarded by mu.
	segments []segment // oldest first; those before acked are gone
	acked    uint64    // first record not acknowledged
	written  uint64    // what the file "acked" says
	writeAt  time.Time // when it was written
	next     uint64    // number of the next record to append
	stats    Stats
	rotate   bool // the last segment is damaged: begin a new one
	closed   bool
	more     chan struct{} // closed and replaced when records were appended

	reader reader
}

// segment is one file.
type segment struct {
	first uint64 // number of its first record
	size  int64
}

// Open opens the spool and finds what an earlier process left. A frame that was
// cut short at the end of the last segment was never acknowledged to whoever
// appended it, and is removed.
func Open(o Options) (*Spool, error) {
	if o.MaxBytes <= 0 {
		o.MaxBytes = defaultMaxBytes
	}
	if o.SegmentBytes <= 0 {
		o.SegmentBytes = max(min(o.MaxBytes/16, maxSegmentBytes), 1)
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	s := &Spool{dir: o.Dir, maxBytes: o.MaxBytes, segmentBytes: o.SegmentBytes, more: make(chan struct{})}
	if err := s.takeLock(); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	if err := s.recover(); err != nil {
		return nil, errors.Join(fmt.Errorf("spool: %w", err), s.lock.Close())
	}
	return s, nil
}

func (s *Spool) takeLock() error {
	f, err := os.OpenFile(filepath.Join(s.dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return fmt.Errorf("%s is used by another process: %w", s.dir, err)
	}
	s.lock = f
	return nil
}

// Next returns the records from the first that neither Next has returned nor,
// before Open, was acknowledged; at least one, at most count, and about
// maxBytes together. It waits until there is one or ctx ends. The records are
// valid until the next call.
func (s *Spool) Next(ctx context.Context, count, maxBytes int) ([][]byte, error) {
	for {
		s.mu.Lock()
		more, closed := s.more, s.closed
		waiting := s.reader.position < s.next
		s.mu.Unlock()
		if closed {
			return nil, os.ErrClosed
		}
		if waiting {
			records, err := s.read(count, maxBytes)
			if len(records) > 0 || err != nil {
				return records, err
			}
			continue // damaged parts were skipped
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-more:
		}
	}
}

// Ack acknowledges the n oldest records that Next has returned and that were
// not acknowledged yet.
func (s *Spool) Ack(n int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return os.ErrClosed
	}
	// Damaged parts between them were skipped, and count as acknowledged.
	upTo, acked := s.reader.ack(n)
	s.acked = max(s.acked, upTo)
	s.stats.Acked += acked
	s.stats.Pending -= acked
	s.removeAcked()
	if time.Since(s.writeAt) < ackInterval && s.acked < s.next {
		return nil
	}
	return s.writeAcked()
}

// removeAcked removes the segments of which every record is acknowledged. mu is
// held.
func (s *Spool) removeAcked() {
	for len(s.segments) > 1 && s.segments[1].first <= s.acked {
		s.drop()
	}
}

// drop removes the oldest segment. mu is held.
func (s *Spool) drop() {
	// One that can't be removed is found by the next Open, all acknowledged.
	_ = os.Remove(s.path(s.segments[0].first))
	s.stats.Bytes -= s.segments[0].size
	s.segments = s.segments[1:]
}

// writeAcked writes the acknowledgement down. mu is held.
func (s *Spool) writeAcked() error {
	if s.acked == s.written {
		return nil
	}
	to := filepath.Join(s.dir, "acked")
	tmp := to + ".new"
	err := os.WriteFile(tmp, fmt.Appendf(nil, "%d\n", s.acked), 0o600)
	if err == nil {
		err = os.Rename(tmp, to)
	}
	s.writeAt = time.Now()
	if err != nil {
		return fmt.Errorf("spool: acknowledge: %w", err)
	}
	s.written = s.acked
	return nil
}

// Stats returns the counters.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// Close writes the acknowledgement down and closes the files. What is pending
// stays for the next Open.
func (s *Spool) Close() error {
	s.appending.Lock()
	defer s.appending.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	close(s.more)
	s.more = make(chan struct{})
	err := errors.Join(s.writeAcked(), s.reader.close())
	if s.out != nil {
		err = errors.Join(err, s.out.Close())
	}
	return errors.Join(err, s.lock.Close())
}

func (s *Spool) path(first uint64) string {
	return filepath.Join(s.dir, fmt.Sprintf("%016x.spool", first))
}

var _ io.Closer = (*Spool)(nil)
