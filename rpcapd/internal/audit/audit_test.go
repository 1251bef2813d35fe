package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"capstan/pkg/rpcap"
)

func open(t testing.TB) (*Log, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "audit.log")
	l, err := Open(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	l.now = func() time.Time { return time.Unix(1_700_000_000, 5000).In(time.FixedZone("", 3600)) }
	return l, path
}

func read(t testing.TB, path string) (events []Event) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		var e Event
		if err := json.Unmarshal(s.Bytes(), &e); err != nil {
			t.Fatalf("%q: %v", s.Text(), err)
		}
		events = append(events, e)
	}
	return events
}

func TestWrite(t *testing.T) {
	l, path := open(t)
	l.Write(Event{Session: 7, Kind: KindLogin, Result: Refused, Reason: "wrong_password", Peer: "192.0.2.1:5", User: "alice", Method: "password"})
	l.Write(Event{Session: 7, Kind: KindEnd, Counts: &Counts{Sent: 3}})
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"time":"2023-11-14T22:13:20.000005Z","session":7,"event":"login","result":"refused","reason":"wrong_password","peer":"192.0.2.1:5","user":"alice","method":"password"}
{"time":"2023-11-14T22:13:20.000005Z","session":7,"event":"end","counts":{"seen":0,"matched":0,"sent":3,"bytes":0,"dropped":0,"undelivered":0}}
`
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Error(diff)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	var none *Log
	none.Write(Event{})
	if none.Reopen() != nil || none.Close() != nil || none.Failed() != 0 {
		t.Error("no log is an error")
	}
}

// halfDisk takes some bytes and is full then.
type halfDisk struct {
	bytes.Buffer
	room int
}

func (d *halfDisk) Write(p []byte) (int, error) {
	n, _ := d.Buffer.Write(p[:min(len(p), d.room)])
	if d.room -= n; n < len(p) {
		return n, errors.New("no space left on device")
	}
	return n, nil
}

func (*halfDisk) Close() error { return nil }

// A disk that is full in the middle of a line costs that event, not the next.
func TestFullDisk(t *testing.T) {
	disk := &halfDisk{room: 100}
	l := &Log{log: slog.New(slog.DiscardHandler), now: time.Now, out: disk}
	for n := range uint64(4) {
		l.Write(Event{Session: n, Kind: KindLogin})
	}
	disk.room = 1 << 20
	l.Write(Event{Session: 4, Kind: KindLogin})
	l.Write(Event{Session: 5, Kind: KindLogin})
	checkTorn(t, disk.String(), []uint64{0, 4, 5})
	if n := l.Failed(); n != 3 {
		t.Errorf("%d failed", n)
	}
}

// So does the power that went in the middle of a line.
func TestTornFile(t *testing.T) {
	for text, want := range map[string][]uint64{"": {7}, `{"session":1}` + "\n": {1, 7}, `{"session":1}` + "\n" + `{"sess`: {1, 7}} {
		path := filepath.Join(t.TempDir(), "audit.log")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := Open(path, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		l.Write(Event{Session: 7, Kind: KindLogin})
		l.Close()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		checkTorn(t, string(b), want)
	}
}

// checkTorn wants the events of these sessions, each a line, and at most one
// piece of a line besides.
func checkTorn(t *testing.T, text string, want []uint64) {
	t.Helper()
	var got []uint64
	pieces := 0
	for line := range strings.Lines(text) {
		var e Event
		if json.Unmarshal([]byte(line), &e) != nil {
			pieces++
			continue
		}
		got = append(got, e.Session)
	}
	if !slices.Equal(got, want) || pieces > 1 {
		t.Errorf("sessions %v, want %v, and %d pieces in\n%s", got, want, pieces, text)
	}
}

// After the file was moved away, events go to a new one, and none is lost.
func TestReopen(t *testing.T) {
	l, path := open(t)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 100 {
				l.Write(Event{Session: uint64(i), Kind: KindOpen})
			}
		})
	}
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if n := len(read(t, path)) + len(read(t, path+".1")); n != 400 || l.Failed() != 0 {
		t.Errorf("%d events, %d failed", n, l.Failed())
	}
	l.path = filepath.Join(path, "no directory")
	if l.Reopen() == nil {
		t.Error("no error")
	}
	if l.Write(Event{}); l.Failed() != 0 {
		t.Error("the old file is gone")
	}
}

func TestFailuresAreCountedAndLoggedOnce(t *testing.T) {
	var text bytes.Buffer
	full, err := Open("/dev/full", slog.New(slog.NewTextHandler(&text, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	for range 5 {
		full.Write(Event{})
	}
	if full.Failed() != 5 || strings.Count(text.String(), "audit log can't be written") != 1 {
		t.Errorf("%d: %s", full.Failed(), text.String())
	}
}

func TestFilterText(t *testing.T) {
	if got := FilterText([]rpcap.Instruction{{Op: 48, K: 9}, {Op: 21, Jt: 0, Jf: 1, K: 6}, {Op: 6, K: 262144}}); got != "3,48 0 0 9,21 0 1 6,6 0 0 262144" {
		t.Error(got)
	}
	long := FilterText(make([]rpcap.Instruction, 8192))
	if !strings.HasPrefix(long, "8192,0 0 0 0,") || !strings.HasSuffix(long, ",…") || len(long) > 1000 {
		t.Errorf("%.30s, %d bytes", long, len(long))
	}
}

// FuzzWrite: whatever a client says, an event is one line, and reads back as
// what was said, as far as it was valid text.
func FuzzWrite(f *testing.F) {
	f.Add("alice", "eth0")
	f.Add("\n{\"event\":\"login\"}\n\x1b[2J\u2028", "\xff\xfe")
	f.Add(strings.Repeat("\xff", maxValueLen), strings.Repeat("\x01", maxValueLen))
	// A byte takes six at most, as \u0001; the rest is names and numbers.
	const longest = 2*6*maxValueLen + 200
	l, path := open(f)
	f.Fuzz(func(t *testing.T, user, device string) {
		if err := os.Truncate(path, 0); err != nil {
			t.Fatal(err)
		}
		l.Write(Event{Session: 1, Kind: KindLogin, User: user, Device: device})
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(string(text), "\n") != 1 || len(text) > longest || strings.ContainsFunc(strings.TrimSuffix(string(text), "\n"), func(r rune) bool { return r < ' ' || r == '\u2028' }) {
			t.Fatalf("%q", text)
		}
		e := read(t, path)[0]
		if len(user) <= maxValueLen && utf8.ValidString(user) && e.User != user || e.Session != 1 {
			t.Errorf("%q became %q", user, e.User)
		}
	})
}
