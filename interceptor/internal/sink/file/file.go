// Package file writes records as NDJSON to files that rotate by size and age,
// compressed with zstd if wanted.
//
// The file being written has the configured name. When it is full or old, it is
// renamed: the time of its first record is put before the extension, as
// records-20060102T150405.000000000Z.ndjson. The oldest of these are removed when
// there are more than are to be kept.
package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"capstan/interceptor/internal/delivery"
	"capstan/interceptor/internal/durable"
	"capstan/interceptor/internal/sink/ndjson"
)

// Config of a [Sink].
type Config struct {
	// Path of the file being written. Its directory must be there.
	Path string
	// MaxBytes is when a file is full, as written; 0 = never.
	MaxBytes int64
	// MaxAge is when a file is old; 0 = never.
	MaxAge time.Duration
	// Keep is how many full files stay; 0 = all.
	Keep int
	// Compress writes zstd; the extension .zst is the caller's to give.
	Compress bool
	// Sync has records, and the names of their files, on disk before they count
	// as delivered.
	Sync bool
}

// Sink writes records to files. It implements delivery.Sink.
type Sink struct {
	cfg     Config
	now     func() time.Time
	syncDir func(dir string) error
	file    *os.File
	zstd    *zstd.Encoder
	size    int64 // of the file
	began   time.Time
	line    []byte
}

// New opens the file. One that is there already is continued, unless it is
// compressed: then it is rotated away, since its end may be missing. One that holds
// something else is an error: a slip of who gives the name must not spoil it.
func New(c Config) (*Sink, error) {
	if err := c.checkFile(); err != nil {
		return nil, fmt.Errorf("records: %w", err)
	}
	s := &Sink{cfg: c, now: time.Now, syncDir: durable.SyncDir}
	if !c.Sync {
		s.syncDir = func(string) error { return nil }
	}
	if c.Compress {
		if _, err := os.Stat(c.Path); err == nil {
			if err := s.rename(s.now()); err != nil {
				return nil, err
			}
		}
	}
	return s, s.open()
}

// checkFile looks at what the file that is there begins with.
func (c *Config) checkFile() error {
	is, err := os.Stat(c.Path)
	if err != nil || !is.Mode().IsRegular() || is.Size() == 0 {
		return nil // whether it can be written is for open to tell
	}
	f, err := os.Open(c.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	var b [4]byte
	n, err := io.ReadFull(f, b[:])
	if err != nil && err != io.ErrUnexpectedEOF {
		return err
	}
	if b[0] == '{' || c.Compress && string(b[:n]) == zstdMagic {
		return nil
	}
	return fmt.Errorf("%s is there and holds something else", c.Path)
}

// zstdMagic starts what is compressed (RFC 8878 §3.1.1).
const zstdMagic = "\x28\xb5\x2f\xfd"

func (s *Sink) open() error {
	f, err := os.OpenFile(s.cfg.Path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return fmt.Errorf("records: %w", err)
	}
	size, err := mendEnd(f, s.cfg.Compress)
	if err == nil {
		err = s.syncDir(s.dir())
	}
	if err != nil {
		f.Close()
		return fmt.Errorf("records: %w", err)
	}
	s.file, s.size, s.began = f, size, s.now()
	if !s.cfg.Compress {
		return nil
	}
	if s.zstd == nil {
		s.zstd, err = zstd.NewWriter(f, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
		return err
	}
	s.zstd.Reset(f)
	return nil
}

// mendEnd ends a line that an earlier process could not, and returns the size.
func mendEnd(f *os.File, compressed bool) (int64, error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil || size == 0 || compressed {
		return size, err
	}
	var last [1]byte
	if _, err := f.ReadAt(last[:], size-1); err != nil {
		return 0, err
	}
	if last[0] == '\n' {
		return size, nil
	}
	_, err = f.Write([]byte("\n"))
	return size + 1, err
}

// Deliver implements delivery.Sink. What can't be decoded is rejected. Of a
// batch that could not be written some lines may be in the file; they come again
// with the batch.
func (s *Sink) Deliver(_ context.Context, batch []*delivery.Record) error {
	if s.file == nil { // an earlier rotation failed
		if err := s.open(); err != nil {
			return err
		}
	}
	var reject *delivery.RejectError
	s.line = s.line[:0]
	for _, r := range batch {
		var err error
		if s.line, err = r.Append(s.line, ndjson.Lines); err != nil {
			if reject == nil {
				reject = &delivery.RejectError{Err: err}
			}
			reject.Rejected++
		}
	}
	if err := s.write(s.line); err != nil {
		return fmt.Errorf("records: %w", err)
	}
	if err := s.rotateIfDue(); err != nil {
		return err
	}
	if reject != nil {
		return reject
	}
	return nil
}

// write writes whole lines.
func (s *Sink) write(b []byte) error {
	var out io.Writer = s.file
	if s.zstd != nil {
		out = s.zstd
	}
	if _, err := out.Write(b); err != nil {
		return s.giveUp(err)
	}
	if s.zstd != nil {
		if err := s.zstd.Flush(); err != nil {
			return s.giveUp(err)
		}
	}
	if s.cfg.Sync {
		if err := s.file.Sync(); err != nil {
			return s.giveUp(err)
		}
	}
	size, err := s.file.Seek(0, io.SeekCurrent)
	s.size = size
	return err
}

// giveUp takes a write back. A compressed file can't go on after one.
func (s *Sink) giveUp(err error) error {
	if s.zstd == nil {
		return errors.Join(err, s.file.Truncate(s.size))
	}
	s.zstd.Reset(nil)
	closeErr := s.file.Close()
	s.file = nil
	return errors.Join(err, closeErr, s.rename(s.began))
}

// rotateIfDue begins a new file if this one is full or old.
func (s *Sink) rotateIfDue() error {
	full := s.cfg.MaxBytes > 0 && s.size >= s.cfg.MaxBytes
	old := s.cfg.MaxAge > 0 && s.now().Sub(s.began) >= s.cfg.MaxAge
	if s.size == 0 || !full && !old {
		return nil
	}
	if err := errors.Join(s.end(), s.rename(s.began), s.removeOld()); err != nil {
		return err
	}
	return s.open()
}

// end closes the file.
func (s *Sink) end() error {
	if s.file == nil {
		return nil
	}
	var err error
	if s.zstd != nil {
		err = s.zstd.Close()
	}
	err = errors.Join(err, s.file.Close())
	s.file = nil
	if err != nil {
		return fmt.Errorf("records: %w", err)
	}
	return nil
}

const stamp = "20060102T150405.000000000Z"

// rename gives the file the name of a full one, which no other has.
func (s *Sink) rename(began time.Time) error {
	for ; ; began = began.Add(1) {
		to := s.before() + began.UTC().Format(stamp) + s.after()
		switch err := os.Link(s.cfg.Path, to); {
		case errors.Is(err, os.ErrExist):
			continue
		case err != nil:
			return fmt.Errorf("records: rotate: %w", err)
		}
		err := s.syncDir(s.dir()) // before the other name is gone
		if err == nil {
			err = os.Remove(s.cfg.Path)
		}
		if err != nil {
			return fmt.Errorf("records: rotate: %w", errors.Join(err, os.Remove(to)))
		}
		return nil
	}
}

func (s *Sink) dir() string { return filepath.Dir(s.cfg.Path) }

// before and after are the parts of a full file's name around the stamp.
func (s *Sink) before() string {
	return strings.TrimSuffix(s.cfg.Path, s.after()) + "-"
}

func (s *Sink) after() string {
	_, ext, ok := strings.Cut(filepath.Base(s.cfg.Path), ".")
	if !ok {
		return ""
	}
	return "." + ext
}

// removeOld removes the oldest full files.
func (s *Sink) removeOld() error {
	if s.cfg.Keep <= 0 {
		return nil
	}
	entries, err := os.ReadDir(s.dir())
	if err != nil {
		return fmt.Errorf("records: %w", err)
	}
	var full []string
	for _, e := range entries {
		middle, ok := strings.CutPrefix(e.Name(), filepath.Base(s.before()))
		middle, ok2 := strings.CutSuffix(middle, s.after())
		if _, err := time.Parse(stamp, middle); ok && ok2 && err == nil {
			full = append(full, e.Name())
		}
	}
	slices.Sort(full)
	for len(full) > s.cfg.Keep {
		if err := os.Remove(filepath.Join(s.dir(), full[0])); err != nil {
			return fmt.Errorf("records: %w", err)
		}
		full = full[1:]
	}
	return nil
}

// Close implements delivery.Sink.
func (s *Sink) Close() error { return s.end() }
