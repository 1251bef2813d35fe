package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"capstan/pkg/leaktest"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }

func open(t testing.TB, o Options) *Spool {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func record(n int) []byte {
	return fmt.Appendf(nil, "record %d %s", n, bytes.Repeat([]byte("x"), n%50))
}

func appendRecords(t testing.TB, s *Spool, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		if err := s.Append(record(n)); err != nil {
			t.Fatalf("record %d: %v", n, err)
		}
	}
}

// take returns the next records and checks that they are from, from+1, …
func take(t testing.TB, s *Spool, from, count int) {
	t.Helper()
	for n := from; n < from+count; {
		records, err := s.Next(t.Context(), from+count-n, 1<<20)
		if err != nil {
			t.Fatalf("record %d: %v", n, err)
		}
		for _, r := range records {
			if !bytes.Equal(r, record(n)) {
				t.Fatalf("got %q, want %q", r, record(n))
			}
			n++
		}
	}
}

func ack(t testing.TB, s *Spool, n int) {
	t.Helper()
	if err := s.Ack(n); err != nil {
		t.Fatal(err)
	}
}

func checkBalance(t testing.TB, s *Spool) Stats {
	t.Helper()
	st := s.Stats()
	if st.Recovered+st.Appended != st.Acked+st.Lost+st.Pending {
		t.Errorf("the counters don't balance: %+v", st)
	}
	return st
}

// empty reports that nothing more is to be read.
func empty(t testing.TB, s *Spool) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if records, err := s.Next(ctx, 1, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("still there: %q, %v", records, err)
	}
}

func TestOrderAcrossSegmentsAndProcesses(t *testing.T) {
	o := Options{Dir: filepath.Join(t.TempDir(), "new"), SegmentBytes: 300}
	s := open(t, o)
	appendRecords(t, s, 0, 100)
	take(t, s, 0, 60)
	ack(t, s, 50)
	checkBalance(t, s)
	s.Close()

	s = open(t, o)
	if st := checkBalance(t, s); st.Recovered != 50 {
		t.Errorf("%+v, want 50 recovered", st)
	}
	appendRecords(t, s, 100, 120)
	take(t, s, 50, 70)
	ack(t, s, 70)
	empty(t, s)
	if st := checkBalance(t, s); st.Pending != 0 || st.Lost != 0 || st.Bytes > 300 {
		t.Errorf("%+v", st)
	}
	s.Close()
	if s = open(t, o); s.Stats().Bytes != 0 {
		t.Errorf("%+v, want nothing on disk", s.Stats())
	}
	appendRecords(t, s, 120, 121)
	take(t, s, 120, 1)
}

// What Append has returned for is there however the process ends, and whatever
// of the next Append got to the disk.
func TestCrashAtEveryByte(t *testing.T) {
	o := Options{Dir: t.TempDir()}
	s := open(t, o)
	appendRecords(t, s, 0, 5)
	whole := int(s.Stats().Bytes)
	appendRecords(t, s, 5, 6)
	s.Close()
	name := filepath.Join(o.Dir, "0000000000000000.spool")
	full, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for cut := whole; cut < len(full); cut++ {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), full[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, Options{Dir: dir})
		if st := s.Stats(); st.Recovered != 5 || st.TruncatedBytes != int64(cut-whole) {
			t.Fatalf("cut at %d: %+v", cut, st)
		}
		appendRecords(t, s, 5, 7)
		take(t, s, 0, 7)
		s.Close()
	}
}

// Damage costs the rest of its segment, counted to the record, and nothing else.
func TestDamageInside(t *testing.T) {
	for _, damage := range []struct {
		name string
		do   func(file string) error
	}{
		{"bit flipped", func(file string) error {
			b, err := os.ReadFile(file)
			if err == nil {
				b[len(b)-3] ^= 4
				err = os.WriteFile(file, b, 0o600)
			}
			return err
		}},
		{"cut", func(file string) error { return os.Truncate(file, 100) }},
		{"gone", os.Remove},
		{"of nonsense", func(file string) error { return os.WriteFile(file, bytes.Repeat([]byte{0xff}, 500), 0o600) }},
	} {
		t.Run(damage.name, func(t *testing.T) {
			o := Options{Dir: t.TempDir(), SegmentBytes: 300}
			s := open(t, o)
			appendRecords(t, s, 0, 100)
			second, third := s.segments[1].first, s.segments[2].first
			s.Close()
			if err := damage.do(s.path(second)); err != nil {
				t.Fatal(err)
			}
			s = open(t, o)
			var got []string
			for len(got) == 0 || got[len(got)-1] != string(record(99)) {
				records, err := s.Next(t.Context(), 7, 1<<20)
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range records {
					got = append(got, string(r))
				}
				ack(t, s, len(records))
			}
			st := checkBalance(t, s)
			if st.Lost == 0 || st.Lost > third-second || int(st.Lost)+len(got) != int(st.Recovered) || st.Pending != 0 {
				t.Errorf("%d read, %+v; segment of %d records", len(got), st, third-second)
			}
			if got[0] != string(record(0)) {
				t.Errorf("first is %q", got[0])
			}
		})
	}
}

// Damage to the segment that is being written doesn't spoil what follows.
func TestDamageWhileWriting(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	appendRecords(t, s, 0, 10)
	if err := os.Truncate(s.path(0), 30); err != nil {
		t.Fatal(err)
	}
	take(t, s, 0, 1)
	empty(t, s)
	appendRecords(t, s, 10, 20)
	take(t, s, 10, 10)
	ack(t, s, 11)
	if st := checkBalance(t, s); st.Lost != 9 || st.Pending != 0 {
		t.Errorf("%+v", st)
	}
}

// What is appended while damage is being found may be lost with it, counted;
// what comes after that isn't.
func TestDamageFoundWhileWriting(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	appendRecords(t, s, 0, 10)
	if err := os.Truncate(s.path(0), 30); err != nil {
		t.Fatal(err)
	}
	take(t, s, 0, 1)
	_, end := s.locate()
	appendRecords(t, s, 10, 12)
	s.skip(end)
	appendRecords(t, s, 12, 20)
	take(t, s, 12, 8)
	ack(t, s, 9)
	if st := checkBalance(t, s); st.Lost != 11 || st.Pending != 0 {
		t.Errorf("%+v", st)
	}
}

// Senders that wait for a full spool try again and again: that must not cost a
// copy of what they have.
func TestFullIsCheap(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir(), MaxBytes: 1<<20 + 10})
	appendRecords(t, s, 0, 1)
	long := make([]byte, 1<<20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 100 {
		if err := s.Append(long); !errors.Is(err, ErrFull) {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > uint64(len(long)) {
		t.Errorf("%d bytes allocated", n)
	}
}

func TestFull(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir(), MaxBytes: 2000, SegmentBytes: 1 << 20})
	n := 0
	var err error
	for ; err == nil; n++ {
		err = s.Append(record(n))
	}
	n--
	if !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	if st := checkBalance(t, s); st.Bytes > 2000 || int(st.Pending) != n {
		t.Errorf("%+v", st)
	}
	take(t, s, 0, n)
	ack(t, s, n-1)
	if err := s.Append(record(n)); !errors.Is(err, ErrFull) {
		t.Errorf("one pending: %v", err)
	}
	ack(t, s, 1)
	appendRecords(t, s, n, n+3) // even its only segment is given back
	take(t, s, n, 3)
	var tooLong *TooLongError
	if err := s.Append(make([]byte, 3000)); !errors.As(err, &tooLong) || tooLong.Max != 2000 {
		t.Errorf("more than ever fits: %v", err)
	}
	if err := s.Append(make([]byte, 500), make([]byte, 1500)); !errors.As(err, &tooLong) || tooLong.Len != 2016 {
		t.Errorf("together more than ever fits: %v", err)
	}
	if err := s.Append(make([]byte, MaxRecord+1)); !errors.As(err, &tooLong) || tooLong.Max != MaxRecord {
		t.Errorf("too long a record: %v", err)
	}
}

// A disk that is full refuses, loses nothing, and is used again when it has room.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("needs CAP_SYS_ADMIN: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	s := open(t, Options{Dir: dir})
	n := 0
	var err error
	for ; err == nil; n++ {
		err = s.Append(record(n), bytes.Repeat([]byte("y"), 1000))
	}
	n--
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	checkBalance(t, s)
	for range n {
		for _, want := range [][]byte{nil, bytes.Repeat([]byte("y"), 1000)} {
			got, err := s.Next(t.Context(), 1, 1)
			if err != nil || want != nil && !bytes.Equal(got[0], want) {
				t.Fatalf("%q, %v", got, err)
			}
			if err := s.Ack(1); err != nil && !errors.Is(err, unix.ENOSPC) {
				t.Fatal(err)
			}
		}
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=256k"); err != nil {
		t.Fatal(err)
	}
	appendRecords(t, s, n, n+20)
	take(t, s, n, 20)
	ack(t, s, 20)
	if st := checkBalance(t, s); st.Pending != 0 || st.Lost != 0 {
		t.Errorf("%+v", st)
	}
}

// Calls at the same time are all or none each, in whatever order, and share
// writes.
func TestConcurrentAppends(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir(), MaxBytes: 20_000, SegmentBytes: 3000})
	const callers, calls = 20, 20
	results := make([][]error, callers)
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range calls {
				results[c] = append(results[c], s.Append(fmt.Appendf(nil, "%d.%d.a", c, i), fmt.Appendf(nil, "%d.%d.b", c, i)))
			}
		})
	}
	wg.Wait()
	want := make(map[string]bool)
	for c, all := range results {
		for i, err := range all {
			if err != nil && !errors.Is(err, ErrFull) {
				t.Fatal(err)
			}
			want[fmt.Sprintf("%d.%d", c, i)] = err == nil
		}
	}
	pending := int(checkBalance(t, s).Pending)
	for n := 0; n < pending; n += 2 {
		var pair []string
		for range 2 {
			r, err := s.Next(t.Context(), 1, 1)
			if err != nil {
				t.Fatal(err)
			}
			pair = append(pair, string(r[0]))
		}
		name := strings.TrimSuffix(pair[0], ".a")
		if pair[1] != name+".b" || !want[name] {
			t.Fatalf("%q", pair)
		}
		delete(want, name)
	}
	for name, accepted := range want {
		if accepted {
			t.Errorf("%s was accepted and is not there", name)
		}
	}
}

func TestOneProcessAtATime(t *testing.T) {
	o := Options{Dir: t.TempDir()}
	s := open(t, o)
	if other, err := Open(o); err == nil {
		other.Close()
		t.Error("opened twice")
	}
	s.Close()
	if err := s.Append(record(0)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
	if _, err := s.Next(t.Context(), 1, 1); !errors.Is(err, os.ErrClosed) {
		t.Errorf("next after close: %v", err)
	}
	if err := s.Ack(1); !errors.Is(err, os.ErrClosed) {
		t.Errorf("ack after close: %v", err)
	}
	open(t, o)
}

// Close wakes who waits.
func TestNextWaits(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	got := make(chan error, 1)
	go func() { // ends with Close at the latest; awaited below
		records, err := s.Next(context.Background(), 10, 1<<20)
		if err == nil && !bytes.Equal(records[0], record(0)) {
			err = fmt.Errorf("%q", records)
		}
		got <- err
		_, err = s.Next(context.Background(), 1, 1)
		got <- err
	}()
	appendRecords(t, s, 0, 1)
	if err := <-got; err != nil {
		t.Error(err)
	}
	s.Close()
	if err := <-got; !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
}

// TestRandomOrders holds a spool against a list, over many lives of the process.
func TestRandomOrders(t *testing.T) {
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 7))
		o := Options{Dir: t.TempDir(), SegmentBytes: int64(50 + rng.IntN(500))}
		appended, acked, handed := 0, 0, 0
		s := open(t, o)
		for range 200 {
			switch op := rng.IntN(20); {
			case op < 9:
				n := 1 + rng.IntN(3)
				var batch [][]byte
				for i := range n {
					batch = append(batch, record(appended+i))
				}
				if err := s.Append(batch...); err != nil {
					t.Fatal(err)
				}
				appended += n
			case op < 14 && handed < appended:
				n := 1 + rng.IntN(min(5, appended-handed))
				take(t, s, handed, n)
				handed += n
			case op < 18 && acked < handed:
				n := 1 + rng.IntN(handed-acked)
				ack(t, s, n)
				acked += n
			case op == 19:
				s.Close()
				s = open(t, o)
				handed = acked
			}
			if st := checkBalance(t, s); int(st.Pending) != appended-acked || st.Lost != 0 {
				t.Fatalf("seed %d: %d appended, %d acked, %+v", seed, appended, acked, st)
			}
		}
		s.Close()
	}
}

// FuzzRecover opens whatever lies in a directory: no panic, every whole frame
// from the start is told, and the spool works afterwards.
func FuzzRecover(f *testing.F) {
	f.Add([]byte(nil), []byte("0\n"))
	f.Add(appendFrame(appendFrame(nil, record(0)), record(1)), []byte("1\n"))
	f.Add([]byte{0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0, 1}, []byte("18446744073709551615"))
	f.Add(appendFrame(nil, nil), []byte("x"))
	f.Fuzz(func(t *testing.T, content, acked []byte) {
		dir := t.TempDir()
		for name, b := range map[string][]byte{"0000000000000000.spool": content, "acked": acked} {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		var want [][]byte
		for r := bytes.NewReader(content); ; {
			record, err := readFrame(r, nil)
			if err != nil {
				break
			}
			want = append(want, record)
		}
		s := open(t, Options{Dir: dir})
		pending := s.Stats().Pending
		if pending > uint64(len(want)) {
			t.Fatalf("%d pending of %d", pending, len(want))
		}
		if err := s.Append([]byte("last")); err != nil {
			t.Fatal(err)
		}
		want = append(want[uint64(len(want))-pending:], []byte("last"))
		for _, w := range want {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			got, err := s.Next(ctx, 1, 1)
			cancel()
			if err != nil || !bytes.Equal(got[0], w) {
				t.Fatalf("got %q, %v, want %q", got, err, w)
			}
			ack(t, s, 1)
		}
		checkBalance(t, s)
		s.Close()
	})
}

func BenchmarkAppend(b *testing.B) {
	s := open(b, Options{Dir: b.TempDir(), MaxBytes: 1 << 40})
	batch := make([][]byte, 100)
	for i := range batch {
		batch[i] = bytes.Repeat([]byte("x"), 2000)
	}
	b.SetBytes(2000 * 100)
	for b.Loop() {
		if err := s.Append(batch...); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAppendManyCallers is what a relay with many nodes does.
func BenchmarkAppendManyCallers(b *testing.B) {
	s := open(b, Options{Dir: b.TempDir(), MaxBytes: 1 << 40})
	record := bytes.Repeat([]byte("x"), 2000)
	b.SetParallelism(50)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := s.Append(record, record, record); err != nil {
				b.Error(err)
			}
		}
	})
}
