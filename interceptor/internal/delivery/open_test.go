package delivery

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"capstan/interceptor/internal/spool"
)

// closedDoor is a sink that can be opened once the door is.
type closedDoor struct {
	memorySink
	open atomic.Bool
}

func (d *closedDoor) sink() (Sink, error) {
	if !d.open.Load() {
		return nil, errors.New("locked")
	}
	return &d.memorySink, nil
}

func openQueue(t *testing.T, c Config, d *closedDoor) *Queue {
	t.Helper()
	c.Name, c.Kind, c.RetryMin, c.RetryMax = "test", "door", time.Millisecond, time.Millisecond
	q := OpenQueue(c, errors.New("not there"), d.sink)
	t.Cleanup(func() { closeNow(t, q) })
	return q
}

// TestASinkIsOpenedLater: it fails until then, and loses nothing that its policy
// keeps.
func TestASinkIsOpenedLater(t *testing.T) {
	for _, c := range []Config{
		{Policy: Block, MaxRecords: 100},
		{Policy: DropOldest},
		{Policy: Spool, MaxBytes: 1 << 20, Spool: spool.Options{Dir: filepath.Join(t.TempDir(), "s"), MaxBytes: 1 << 20}},
	} {
		t.Run(c.Policy.String(), func(t *testing.T) {
			d := &closedDoor{}
			q := openQueue(t, c, d)
			if s := q.Stats(); !s.Failing || s.Problem == "" || s.Kind != "door" || s.Policy != c.Policy || s.MaxSpoolBytes != c.Spool.MaxBytes {
				t.Errorf("%+v", s)
			}
			if c.Policy == Spool { // what its spool can't take yet is lost
				await(t, "its spool is open", func() bool { return q.disk.Load() != nil })
			}
			push(t, q, 0, 50)
			await(t, "the latest problem is told", func() bool { return q.Stats().Problem == "locked" })
			balanced(t, q)
			d.open.Store(true)
			await(t, "the records arrive", func() bool { return q.Stats().Delivered == 50 })
			if s := balanced(t, q); s.Failing || s.Problem != "" {
				t.Errorf("%+v", s)
			}
			d.want(t, 0, 50)
		})
	}
}

// TestASpoolIsOpenedLater: what comes before has no place, and is counted.
func TestASpoolIsOpenedLater(t *testing.T) {
	d := &closedDoor{}
	d.open.Store(true)
	inTheWay := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(inTheWay, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	q := openQueue(t, Config{Policy: Spool, Spool: spool.Options{Dir: filepath.Join(inTheWay, "spool")}}, d)
	push(t, q, 0, 10)
	await(t, "they are dropped", func() bool { return q.Stats().SpoolFull == 10 })
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	await(t, "it is open", func() bool { return !q.Stats().Failing })
	push(t, q, 10, 20)
	await(t, "the others arrive", func() bool { return balanced(t, q).Delivered == 10 })
	d.want(t, 10, 20)
}

// TestASinkThatIsNeverOpened doesn't keep the end waiting: what it has is dropped
// and counted, or stays on disk.
func TestASinkThatIsNeverOpened(t *testing.T) {
	d := &closedDoor{}
	memory := openQueue(t, Config{}, d)
	disk := openQueue(t, Config{Policy: Spool, Spool: spool.Options{Dir: t.TempDir()}}, d)
	await(t, "the spool is open", func() bool { return disk.disk.Load() != nil })
	push(t, memory, 0, 10)
	push(t, disk, 0, 10)
	await(t, "it is spooled", func() bool { return disk.Stats().Spooled == 10 })
	if err := errors.Join(memory.Close(t.Context()), disk.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	if m, s := balanced(t, memory), balanced(t, disk); m.Dropped != 10 || s.Spooled != 10 {
		t.Errorf("%+v\n%+v", m, s)
	}
	if d.closed {
		t.Error("what was never opened is closed")
	}
}

// cutter is a sink that records are too long for.
type cutter struct{ memorySink }

func (*cutter) Cut() uint64 { return 3 }

// TestCutRecordsAreTold, also of a sink that is opened later, and of one that follows another.
func TestCutRecordsAreTold(t *testing.T) {
	q, err := NewQueue(Config{Name: "test"}, new(cutter))
	if err != nil {
		t.Fatal(err)
	}
	defer closeNow(t, q)
	later := OpenQueue(Config{Name: "test", RetryMin: time.Millisecond}, errors.New("not there"), func() (Sink, error) { return new(cutter), nil })
	defer closeNow(t, later)
	await(t, "the other is open", func() bool { return later.Stats().Cut == 3 })
	if s := q.Stats().followedBy(later.Stats()); s.Cut != 6 {
		t.Errorf("%d are told", s.Cut)
	}
}
