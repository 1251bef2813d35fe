package file

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"capstan/interceptor/internal/delivery"
	"capstan/interceptor/internal/delivery/deliverytest"
	capstanv1 "capstan/proto/capstan/v1"
)

func records(t *testing.T, from, to int) (batch []*delivery.Record) {
	t.Helper()
	for n := from; n < to; n++ {
		batch = append(batch, deliverytest.Record(t, &capstanv1.Exchange{Id: fmt.Sprintf("id-%05d", n)}))
	}
	return batch
}

// contents returns the files of a directory, by their names in order, and the
// ids in all of them.
func contents(t *testing.T, dir string) (names []string, ids []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(e.Name(), ".zst") {
			d, err := zstd.NewReader(bytes.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			b, _ = io.ReadAll(d) // the end may be missing while it is written
			d.Close()
		}
		for line := range strings.Lines(string(b)) {
			if !strings.HasPrefix(line, `{"id":"id-`) || !strings.HasSuffix(line, "}\n") {
				t.Fatalf("%s has a line %q", e.Name(), line)
			}
			ids = append(ids, line[10:15])
		}
	}
	return names, ids
}

func deliver(t *testing.T, s *Sink, batch []*delivery.Record) {
	t.Helper()
	if err := s.Deliver(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
}

// TestNoRotation: without bounds a file is never full.
func TestNoRotation(t *testing.T) {
	s, err := New(Config{Path: filepath.Join(t.TempDir(), "r.ndjson")})
	if err != nil {
		t.Fatal(err)
	}
	deliver(t, s, records(t, 0, 1))
	s.size, s.began = 1<<50, time.Unix(0, 0)
	deliver(t, s, records(t, 1, 2))
	if names, _ := contents(t, filepath.Dir(s.cfg.Path)); len(names) != 1 {
		t.Errorf("%q", names)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestRotation(t *testing.T) {
	for _, compress := range []bool{false, true} {
		dir := t.TempDir()
		path := filepath.Join(dir, "records.ndjson")
		if compress {
			path += ".zst"
		}
		s, err := New(Config{Path: path, MaxBytes: 2000, Compress: compress, Sync: true})
		if err != nil {
			t.Fatal(err)
		}
		for n := 0; n < 100; n += 5 {
			deliver(t, s, records(t, n, n+5))
			if _, ids := contents(t, dir); len(ids) != n+5 { // at once, also compressed
				t.Fatalf("%d of %d records", len(ids), n+5)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		// Another process goes on.
		if s, err = New(s.cfg); err != nil {
			t.Fatal(err)
		}
		deliver(t, s, records(t, 100, 110))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		names, ids := contents(t, dir)
		if len(names) < 2 || len(ids) != 110 {
			t.Errorf("%q, %d records", names, len(ids))
		}
		seen := make(map[string]bool)
		for _, id := range ids {
			if seen[id] {
				t.Errorf("%s twice", id)
			}
			seen[id] = true
		}
	}
}

func TestKeepAndAge(t *testing.T) {
	dir := t.TempDir()
	s, err := New(Config{Path: filepath.Join(dir, "r.ndjson"), MaxAge: time.Hour, Keep: 2})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	s.now = func() time.Time { return now }
	other := filepath.Join(dir, "r-notes.ndjson")
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for n := range 5 {
		now = now.Add(61 * time.Minute)
		deliver(t, s, records(t, n, n+1))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	names, ids := contents(t, dir)
	if len(names) != 4 || len(ids) != 2 || ids[0] != "00003" { // two kept, one current and empty, the notes
		t.Errorf("%q, %q", names, ids)
	}
}

// A half line of a process that died is ended, so that the next is whole.
func TestHalfLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.ndjson")
	if err := os.WriteFile(path, []byte(`{"id":"id-0`), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	deliver(t, s, records(t, 1, 2))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if lines := strings.Split(string(b), "\n"); err != nil || len(lines) != 3 || !strings.HasPrefix(lines[1], `{"id":"id-00001"`) {
		t.Errorf("%q, %v", b, err)
	}
}

// TestFileOfSomethingElse: a file that holds no records stays as it is.
func TestFileOfSomethingElse(t *testing.T) {
	const capture = "\xd4\xc3\xb2\xa1 and so on"
	for _, c := range []Config{{}, {Compress: true}, {MaxBytes: 1, Keep: 1}} {
		dir := t.TempDir()
		c.Path = filepath.Join(dir, "capture.pcap")
		if err := os.WriteFile(c.Path, []byte(capture), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := New(c); err == nil {
			t.Errorf("%+v: opened", c)
			_ = s.Close()
		}
		entries, _ := os.ReadDir(dir)
		if b, err := os.ReadFile(c.Path); err != nil || string(b) != capture || len(entries) != 1 {
			t.Errorf("%+v: %q, %v, %d files", c, b, err, len(entries))
		}
	}
}

func TestRejectAndFailure(t *testing.T) {
	dir := t.TempDir()
	s, err := New(Config{Path: filepath.Join(dir, "r.ndjson")})
	if err != nil {
		t.Fatal(err)
	}
	batch := append(records(t, 0, 1), &delivery.Record{Raw: []byte("no record")})
	var reject *delivery.RejectError
	if err := s.Deliver(t.Context(), batch); !errors.As(err, &reject) || reject.Rejected != 1 {
		t.Errorf("%v", err)
	}
	good := s.file
	if s.file, err = os.OpenFile("/dev/full", os.O_RDWR, 0); err != nil {
		t.Fatal(err)
	}
	if err := s.Deliver(t.Context(), records(t, 1, 2)); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("%v", err)
	}
	s.file.Close()
	s.file = good
	deliver(t, s, records(t, 1, 2))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, ids := contents(t, dir); len(ids) != 2 {
		t.Errorf("%q", ids)
	}
}

// TestNamesAreOnDisk: with Sync no record counts as delivered before its file has
// its name on disk, and a full file has its new name there before the old is gone.
func TestNamesAreOnDisk(t *testing.T) {
	dir := t.TempDir()
	s, err := New(Config{Path: filepath.Join(dir, "r.ndjson"), MaxBytes: 1, Sync: true})
	if err != nil {
		t.Fatal(err)
	}
	var synced []string // the names that were there each time
	broken := errors.New("broken")
	var fail error
	s.syncDir = func(d string) error {
		names, _ := contents(t, d)
		synced = append(synced, strings.Join(names, " "))
		return fail
	}
	deliver(t, s, records(t, 0, 1))
	names, _ := contents(t, dir)
	if want := []string{names[0] + " r.ndjson", names[0] + " r.ndjson"}; len(names) != 2 || !slices.Equal(synced, want) {
		t.Errorf("%q, want %q", synced, want)
	}
	fail = broken
	if err := s.Deliver(t.Context(), records(t, 1, 2)); !errors.Is(err, broken) {
		t.Errorf("not renamed: %v", err)
	}
	if now, _ := contents(t, dir); !slices.Equal(now, names) {
		t.Errorf("%q, want %q", now, names)
	}
	if err := s.Deliver(t.Context(), records(t, 2, 3)); !errors.Is(err, broken) {
		t.Errorf("not opened: %v", err)
	}
	fail = nil
	deliver(t, s, records(t, 2, 3))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, ids := contents(t, dir); fmt.Sprint(ids) != "[00000 00001 00002]" {
		t.Errorf("%q", ids)
	}
}
