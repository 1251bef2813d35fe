package spool

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
)

// reader is where Next stands. Guarded by Spool.mu, but for file and buffers,
// which belong to the caller of Next.
type reader struct {
	position uint64 // number of the record that is read next
	handed   []run  // returned by Next and not acknowledged, oldest first

	file  *os.File
	in    *bufio.Reader
	first uint64 // of the open segment
	at    uint64 // number of the record that in stands at
	bufs  [][]byte
}

// run is records with consecutive numbers.
type run struct{ first, n uint64 }

// hand notes that the record at position has been returned.
func (r *reader) hand() {
	if n := len(r.handed); n > 0 && r.handed[n-1].first+r.handed[n-1].n == r.position {
		r.handed[n-1].n++
	} else {
		r.handed = append(r.handed, run{r.position, 1})
	}
	r.position++
}

// ack forgets the n oldest records handed out, and returns the number up to
// which everything is acknowledged then. n counts what there is.
func (r *reader) ack(n int) (upTo uint64, acked uint64) {
	left := uint64(max(n, 0))
	for left > 0 && len(r.handed) > 0 {
		take := min(left, r.handed[0].n)
		r.handed[0].first += take
		r.handed[0].n -= take
		left -= take
		acked += take
		if r.handed[0].n == 0 {
			r.handed = r.handed[:copy(r.handed, r.handed[1:])]
		}
	}
	if len(r.handed) > 0 {
		return r.handed[0].first, acked
	}
	return r.position, acked
}

func (r *reader) close() error {
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file, r.in = nil, nil
	return err
}

// read returns records from the segment in which the position is; none if that
// part of it is damaged, which it has skipped then.
func (s *Spool) read(count, maxBytes int) (records [][]byte, err error) {
	segment, end := s.locate()
	if err := s.openAt(segment.first); err != nil {
		if errors.Is(err, errDamaged) || errors.Is(err, os.ErrNotExist) {
			s.skip(end)
			return nil, nil
		}
		return nil, fmt.Errorf("spool: %w", err)
	}
	for size := 0; len(records) < count && s.reader.at < end && size < maxBytes; {
		record, err := s.readOne(len(records))
		if errors.Is(err, errDamaged) || err == io.EOF {
			if len(records) == 0 {
				s.skip(end)
			}
			break // else the next call meets it again
		}
		if err != nil {
			return nil, fmt.Errorf("spool: %w", err)
		}
		records = append(records, record)
		size += len(record)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for range records {
		s.reader.hand()
	}
	return records, nil
}

// locate returns the segment that holds the position, and the number behind
// its last record.
func (s *Spool) locate() (segment, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	end := s.next
	for i := len(s.segments) - 1; i > 0; i-- {
		if s.segments[i].first <= s.reader.position {
			return s.segments[i], end
		}
		end = s.segments[i].first
	}
	return s.segments[0], end
}

// openAt has the segment open and stands at the position.
func (s *Spool) openAt(first uint64) error {
	r := &s.reader
	if r.file == nil || r.first != first || r.at != r.position {
		if err := r.close(); err != nil {
			return err
		}
		f, err := os.Open(s.path(first))
		if err != nil {
			return err
		}
		r.file, r.in, r.first, r.at = f, bufio.NewReaderSize(f, 256<<10), first, first
	}
	for r.at < r.position {
		if _, err := s.readOne(0); err == io.EOF {
			return fmt.Errorf("%w: the segment ends before record %d", errDamaged, r.position)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// readOne reads the next record of the open segment into buffer i. After an
// error the segment has to be opened again.
func (s *Spool) readOne(i int) ([]byte, error) {
	r := &s.reader
	for len(r.bufs) <= i {
		r.bufs = append(r.bufs, nil)
	}
	record, err := readFrame(r.in, r.bufs[i])
	r.bufs[i] = record
	if err != nil {
		r.at = r.position + 1 // never where openAt wants to be
		return nil, err
	}
	r.at++
	return record, nil
}

// skip gives up the records from the position to end, which can't be read.
func (s *Spool) skip(end uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lost := end - s.reader.position
	s.stats.Lost += lost
	s.stats.Pending -= lost
	s.reader.position = end
	if end > s.segments[len(s.segments)-1].first { // the writer begins a new one, lest it writes behind the damage
		s.rotate = true
	}
	if len(s.reader.handed) == 0 {
		s.acked = end
		s.removeAcked()
	}
}
