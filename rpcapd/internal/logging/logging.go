// Package logging makes the daemon's logger: on standard error in a format of
// choice, or in the system's log.
package logging

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"log/syslog"
	"sync"

	"capstan/rpcapd/internal/config"
)

// New returns a logger that writes to w. Debugging messages are dropped unless
// debug.
func New(w io.Writer, format config.LogFormat, debug bool) *slog.Logger {
	options := &slog.HandlerOptions{Level: level(debug)}
	switch format {
	case config.LogJSON:
		return slog.New(slog.NewJSONHandler(w, options))
	case config.LogText:
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(newPlain(func(l slog.Level, line string) error {
		_, err := io.WriteString(w, "rpcapd: "+tag(l)+line+"\n")
		return err
	}, level(debug)))
}

// NewSystem returns a logger to the system's log (syslog(3)), as the reference
// writes to it: ident rpcapd with the process number, facility daemon.
func NewSystem(debug bool) (*slog.Logger, error) {
	w, err := syslog.New(syslog.LOG_DAEMON|syslog.LOG_INFO, "rpcapd")
	if err != nil {
		return nil, err
	}
	return slog.New(newPlain(func(l slog.Level, line string) error { return write(w, l, line) }, level(debug))), nil
}

func level(debug bool) slog.Level {
	if debug {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// tag is what the reference puts before a message (rpcapd_vlog_stderr).
func tag(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return "error: "
	case l >= slog.LevelWarn:
		return "warning: "
	case l >= slog.LevelInfo:
		return ""
	}
	return "DEBUG: "
}

func write(w *syslog.Writer, l slog.Level, line string) error {
	switch {
	case l >= slog.LevelError:
		return w.Err(line)
	case l >= slog.LevelWarn:
		return w.Warning(line)
	case l >= slog.LevelInfo:
		return w.Info(line)
	}
	return w.Debug(line)
}

// errorKey is the attribute that the plain format sets right behind the
// message, after a colon, where the reference has it.
const errorKey = "err"

// plain is a handler whose lines are "MESSAGE: ERROR key=value ...".
type plain struct {
	emit  func(slog.Level, string) error
	level slog.Level

	mu     *sync.Mutex   // guards buf
	buf    *bytes.Buffer // what attributes writes
	attrs  slog.Handler  // writes the attributes and nothing else
	shared string        // ": ERROR" of the logger itself
}

func newPlain(emit func(slog.Level, string) error, level slog.Level) *plain {
	buf := new(bytes.Buffer)
	attrs := slog.NewTextHandler(buf, &slog.HandlerOptions{Level: level, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
			return slog.Attr{}
		}
		return a
	}})
	return &plain{emit: emit, level: level, mu: new(sync.Mutex), buf: buf, attrs: attrs}
}

func (h *plain) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level }

func (h *plain) Handle(ctx context.Context, r slog.Record) error {
	line := r.Message + h.shared
	rest := slog.NewRecord(r.Time, r.Level, "", r.PC)
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == errorKey {
			line += suffix(a)
		} else {
			rest.AddAttrs(a)
		}
		return true
	})
	h.mu.Lock()
	defer h.mu.Unlock()
	h.buf.Reset()
	if err := h.attrs.Handle(ctx, rest); err != nil {
		return err
	}
	if attrs := bytes.TrimSpace(h.buf.Bytes()); len(attrs) > 0 {
		line += " " + string(attrs)
	}
	return h.emit(r.Level, oneLine(line))
}

// suffix is how an error follows a message; a nil one doesn't.
func suffix(a slog.Attr) string {
	if a.Value.Kind() == slog.KindAny && a.Value.Any() == nil {
		return ""
	}
	return ": " + a.Value.String()
}

// oneLine keeps what a peer sent from looking like a line of its own.
func oneLine(s string) string {
	clean := make([]rune, 0, len(s))
	for _, r := range s {
		if r < ' ' || r == 0x7f {
			r = ' '
		}
		clean = append(clean, r)
	}
	return string(clean)
}

func (h *plain) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	var rest []slog.Attr
	for _, a := range attrs {
		if a.Key == errorKey {
			c.shared += suffix(a)
		} else {
			rest = append(rest, a)
		}
	}
	c.attrs = h.attrs.WithAttrs(rest)
	return &c
}

func (h *plain) WithGroup(name string) slog.Handler {
	c := *h
	c.attrs = h.attrs.WithGroup(name)
	return &c
}
