package spool

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"capstan/interceptor/internal/durable"
)

// Append appends records in order, all of them or none. When it returns nil
// they are on disk. Calls at the same time share one write.
func (s *Spool) Append(records ...[]byte) error {
	if len(records) == 0 {
		return nil
	}
	size := 0
	for _, r := range records {
		if len(r) > MaxRecord {
			return &TooLongError{Len: int64(len(r)), Max: MaxRecord}
		}
		size += frameHeaderLen + len(r)
	}
	if int64(size) > s.maxBytes {
		return &TooLongError{Len: int64(size), Max: s.maxBytes}
	}
	if err := s.hasRoom(int64(size)); err != nil {
		return err
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

// hasRoom is reserve for who has copied nothing yet: many callers that try
// again and again with a spool that is full must not cost more than the look.
func (s *Spool) hasRoom(n int64) error {
	s.mu.Lock()
	empty := s.acked == s.next // giveBack makes room
	s.mu.Unlock()
	if empty {
		return nil
	}
	return s.reserve(n)
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
	if err := durable.SyncDir(s.dir); err != nil {
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
