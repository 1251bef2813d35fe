// Package audit keeps the record of who captured what: one line of JSON for
// each event, appended to a file.
//
// Values come from clients, so they are limited in length, and escaped as JSON
// does: a line can't be broken or forged. Lines are written at once, by whoever
// has the event; that is never a goroutine that carries frames.
package audit

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Kind tells what an event is.
type Kind string

// The kinds of events.
const (
	KindLogin   Kind = "login"   // accepted or refused
	KindOpen    Kind = "open"    // of a device, granted or refused
	KindStart   Kind = "start"   // of a capture
	KindFilter  Kind = "filter"  // replaced while a capture runs
	KindEnd     Kind = "end"     // of a capture
	KindSession Kind = "session" // has ended
)

// Results of events that somebody decides about.
const (
	OK      = "ok"
	Refused = "refused"
)

// Event is one line. Fields that don't matter to its kind are empty and left
// away.
type Event struct {
	Time        time.Time `json:"time"`    // UTC; set by Write
	Session     uint64    `json:"session"` // number that the events of a session share
	Kind        Kind      `json:"event"`
	Result      string    `json:"result,omitempty"` // "ok" or "refused"
	Reason      string    `json:"reason,omitempty"` // of a refusal, or of the end
	Peer        string    `json:"peer,omitempty"`
	User        string    `json:"user,omitempty"`
	Method      string    `json:"method,omitempty"`      // of a login: "null" or "password"
	TLS         string    `json:"tls,omitempty"`         // version
	Certificate string    `json:"certificate,omitempty"` // subject of the client's
	Device      string    `json:"device,omitempty"`
	SnapLen     int       `json:"snaplen,omitempty"`
	Promiscuous bool      `json:"promiscuous,omitempty"`
	Transport   string    `json:"transport,omitempty"`   // of frames: "stream" or "udp"
	Filter      string    `json:"filter,omitempty"`      // classic BPF, "N,code jt jf k,…"
	Restriction string    `json:"restriction,omitempty"` // the policy's filter
	Omitted     uint64    `json:"omitted,omitempty"`     // logins refused before this one that have no line
	DurationMS  int64     `json:"durationMs,omitempty"`
	Counts      *Counts   `json:"counts,omitempty"`
}

// Counts are the frames of a capture, or of all captures of a session.
type Counts struct {
	Seen        uint64 `json:"seen"`
	Matched     uint64 `json:"matched"`
	Sent        uint64 `json:"sent"`
	Bytes       uint64 `json:"bytes"`
	Dropped     uint64 `json:"dropped"`
	Undelivered uint64 `json:"undelivered"`
}

// Log appends events to a file. A nil Log keeps nothing. It is safe from any
// goroutine.
type Log struct {
	path   string
	log    *slog.Logger
	now    func() time.Time
	failed atomic.Uint64

	mu     sync.Mutex // guards the following
	out    io.WriteCloser
	broken bool // the last write failed, and that has been logged
	torn   bool // the file ends inside a line
}

// mode of the file: it tells what people do.
const mode = 0o600

// Open opens the file, and makes it if there is none. What can't be written
// later is counted, and logged to log once.
func Open(path string, log *slog.Logger) (*Log, error) {
	l := &Log{path: path, log: log, now: time.Now}
	return l, l.Reopen()
}

// Reopen opens the file anew, after somebody has moved it away. After an error
// the old one stays.
func (l *Log) Reopen() error {
	if l == nil {
		return nil
	}
	f, err := os.OpenFile(l.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, mode)
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	torn := endsInside(f)
	l.mu.Lock()
	old := l.out
	l.out, l.torn = f, torn
	l.mu.Unlock()
	if old != nil {
		old.Close()
	}
	return nil
}

// endsInside tells whether the last line of a file has no end: when the disk was
// full, or the power went.
func endsInside(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return false
	}
	r, err := os.Open(f.Name()) // f is for writing
	if err != nil {
		return true // one line too many is better than two in one
	}
	defer r.Close()
	var last [1]byte
	_, err = r.ReadAt(last[:], info.Size()-1)
	return err != nil || last[0] != '\n'
}

// Close closes the file; events that follow are counted as failed.
func (l *Log) Close() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Close()
}

// Failed returns how many events could not be written.
func (l *Log) Failed() uint64 {
	if l == nil {
		return 0
	}
	return l.failed.Load()
}

// Write writes an event.
func (l *Log) Write(e Event) {
	if l == nil {
		return
	}
	e.Time = l.now().UTC()
	for _, s := range []*string{&e.User, &e.Device, &e.Certificate, &e.Peer, &e.Reason} {
		*s = Shorten(*s)
	}
	line, err := json.Marshal(e)
	if err == nil {
		err = l.append(append(line, '\n'))
	}
	if err != nil {
		l.failed.Add(1)
	}
}

// append writes a line in one piece, so that lines of several writers don't mix.
// A piece of a line, all that a full disk took, stays a line of its own.
func (l *Log) append(line []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.torn {
		line = append([]byte{'\n'}, line...)
	}
	n, err := l.out.Write(line)
	l.torn = err != nil && (l.torn || n > 0)
	if err != nil && !l.broken {
		l.log.Error("audit log can't be written; events are lost", "err", err)
	}
	l.broken = err != nil
	return err
}

// maxValueLen bounds each value that a client chooses.
const maxValueLen = 256

// Shorten returns what is written of a value that a client chooses: its first
// 256 bytes.
func Shorten(s string) string {
	if len(s) <= maxValueLen {
		return s
	}
	return strings.ToValidUTF8(s[:maxValueLen], "") + "…"
}
