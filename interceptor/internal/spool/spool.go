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

// TooLongError is a record longer than [MaxRecord].
type TooLongError struct{ Len int }

// Error tells both lengths.
func (e *TooLongError) Error() string {
	return fmt.Sprintf("spool: record of %d bytes: longer than %d", e.Len, MaxRecord)
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

// Append appends records in order, all of them or none. When it returns nil
// they are on disk. Calls at the same time share one write.
func (s *Spool) Append(records ...[]byte) error {
	if len(records) == 0 {
		return nil
	}
	size := 0
	for _, r := range records {
		if len(r) > MaxRecord {
			return &TooLongError{Len: len(r)}
		}
		size += frameHeaderLen + len(r)
	}
	g, first := s.join(records, size)
	if first {
		s.commit(g)
	}
	<-g.done
	if g.members > 1 && errors.Is(g.err, ErrFull) { // alone they may fit
		g = newGroup(records)
		s.commit(g)
	}
	return g.err
}

// group is what one write appends.
type group struct {
	frames  []byte
	records int
	members int // calls of Append
	err     error
	done    chan struct{} // closed when err is set
}

// maxGroup bounds the bytes of calls that share a write.
const maxGroup = 8 << 20

func newGroup(records [][]byte) *group {
	g := &group{done: make(chan struct{})}
	g.add(records)
	return g
}

func (g *group) add(records [][]byte) {
	for _, r := range records {
		g.frames = appendFrame(g.frames, r)
	}
	g.records += len(records)
	g.members++
}

// join adds records to the group that waits for the write under way to end, or
// makes one, which the caller has to commit.
func (s *Spool) join(records [][]byte, size int) (g *group, first bool) {
	s.joining.Lock()
	defer s.joining.Unlock()
	if g := s.group; g != nil && len(g.frames)+size <= maxGroup {
		g.add(records)
		return g, false
	}
	s.group = newGroup(records)
	return s.group, true
}

// commit writes g, which nobody joins from then on.
func (s *Spool) commit(g *group) {
	s.appending.Lock()
	defer s.appending.Unlock()
	s.joining.Lock()
	if s.group == g {
		s.group = nil
	}
	s.joining.Unlock()
	g.err = s.append(g)
	close(g.done)
}

// append makes g durable. appending is held.
func (s *Spool) append(g *group) error {
	n := int64(len(g.frames))
	if err := errors.Join(s.giveBack(n), s.reserve(n)); err != nil {
		return err
	}
	if err := s.write(g.frames); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	s.appended(g.records)
	return nil
}

// giveBack removes the last segment, too, if nothing in it is pending and n
// bytes don't fit otherwise.
func (s *Spool) giveBack(n int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.stats.Bytes+n <= s.maxBytes || s.acked != s.next {
		return nil
	}
	for len(s.segments) > 0 {
		s.drop()
	}
	if s.out == nil {
		return nil
	}
	err := s.out.Close()
	s.out = nil
	return err
}

// reserve makes sure that n bytes may be written.
func (s *Spool) reserve(n int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return os.ErrClosed
	case s.stats.Bytes+n > s.maxBytes:
		return fmt.Errorf("%w: %d of %d bytes used", ErrFull, s.stats.Bytes, s.maxBytes)
	}
	return nil
}

// write makes b durable at the end of the last segment.
func (s *Spool) write(b []byte) error {
	if s.out != nil && (s.mustRotate() || s.outSize > 0 && s.outSize+int64(len(b)) > s.segmentBytes) {
		err := s.out.Close()
		if s.out = nil; err != nil {
			return err
		}
	}
	if s.out == nil {
		if err := s.begin(); err != nil {
			return err
		}
	}
	_, err := s.out.WriteAt(b, s.outSize)
	if err == nil {
		err = unix.Fdatasync(int(s.out.Fd()))
	}
	if err != nil {
		// What got there is no frame of ours. If even that can't be undone, a
		// new segment is begun, and the remains are found to be damaged.
		if terr := s.out.Truncate(s.outSize); terr != nil {
			s.out.Close()
			s.out = nil
		}
		return err
	}
	s.outSize += int64(len(b))
	s.grown(int64(len(b)))
	return nil
}

func (s *Spool) mustRotate() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	yes := s.rotate
	s.rotate = false
	return yes
}

// begin begins a segment. One of the same name can only be the empty rest of an
// attempt that failed.
func (s *Spool) begin() error {
	s.mu.Lock()
	first := s.next
	s.mu.Unlock()
	f, err := os.OpenFile(s.path(first), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err := syncDir(s.dir); err != nil {
		f.Close()
		return err
	}
	s.out, s.outSize = f, 0
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.segments); n == 0 || s.segments[n-1].first != first {
		s.segments = append(s.segments, segment{first: first})
	}
	return nil
}

func (s *Spool) grown(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.segments[len(s.segments)-1].size += n
	s.stats.Bytes += n
}

func (s *Spool) appended(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next += uint64(n)
	s.stats.Appended += uint64(n)
	s.stats.Pending += uint64(n)
	close(s.more)
	s.more = make(chan struct{})
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

// Rewind makes Next start again at the first record that is not acknowledged.
func (s *Spool) Rewind() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reader.seek(s.acked)
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

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

var _ io.Closer = (*Spool)(nil)
