package spool

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// maxNumber bounds the numbers that are believed. No spool lives to see it.
const maxNumber = 1 << 62

// recover finds what an earlier process left.
func (s *Spool) recover() error {
	if err := s.listSegments(); err != nil {
		return err
	}
	acked, err := s.readAcked()
	if err != nil {
		return err
	}
	if n := len(s.segments); n > 0 {
		if err := s.mendLast(&s.segments[n-1]); err != nil {
			return err
		}
		acked = max(acked, s.segments[0].first)
	}
	s.next = max(s.next, acked)
	s.acked, s.written = acked, acked
	s.removeAcked()
	if len(s.segments) == 1 && s.acked == s.next {
		s.drop()
	}
	s.reader.position = acked
	s.stats.Recovered = s.next - acked
	s.stats.Pending = s.stats.Recovered
	return nil
}

// listSegments finds the segments.
func (s *Spool) listSegments() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name, isSegment := strings.CutSuffix(e.Name(), ".spool")
		first, err := strconv.ParseUint(name, 16, 64)
		if !isSegment || err != nil || len(name) != 16 || first > maxNumber {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		s.segments = append(s.segments, segment{first, info.Size()})
		s.stats.Bytes += info.Size()
	}
	slices.SortFunc(s.segments, func(a, b segment) int { return cmp.Compare(a.first, b.first) })
	return nil
}

// readAcked returns what the file "acked" says, 0 if there is none. One that
// can't be understood costs repeats, no record.
func (s *Spool) readAcked() (uint64, error) {
	text, err := os.ReadFile(filepath.Join(s.dir, "acked"))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	acked, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || acked > maxNumber {
		return 0, nil
	}
	return acked, nil
}

// mendLast counts the records of the last segment and cuts off what follows
// the last that is whole.
func (s *Spool) mendLast(last *segment) error {
	f, err := os.OpenFile(s.path(last.first), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	s.next = last.first
	in := bufio.NewReaderSize(f, 1<<20)
	var buf []byte
	size := int64(0)
	for {
		buf, err = readFrame(in, buf)
		if err != nil {
			break
		}
		size += frameHeaderLen + int64(len(buf))
		s.next++
	}
	switch {
	case err == io.EOF:
		return nil
	case !errors.Is(err, errDamaged):
		return err
	}
	s.stats.TruncatedBytes = last.size - size
	s.stats.Bytes -= s.stats.TruncatedBytes
	last.size = size
	if err := f.Truncate(size); err != nil {
		return fmt.Errorf("cut %d damaged bytes off: %w", s.stats.TruncatedBytes, err)
	}
	return f.Sync()
}
