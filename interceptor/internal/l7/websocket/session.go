package websocket

import (
	"strings"

	capstanv1 "capstan/proto/capstan/v1"
)

// Config bounds a Session. The zero value of a field stands for its default.
type Config struct {
	// MaxMessages is how many messages are told one by one; all are counted.
	// Default 100.
	MaxMessages int
	// MaxCompressed is how many bytes of a compressed message are kept to inflate it. One
	// that is longer is not inflated, nor are those behind it that may refer to it. Default 64 KiB.
	MaxCompressed int
	// MaxInflated is how many bytes one may inflate to; more is as above. Default 1 MiB.
	MaxInflated int
	// Shared is shared by the sessions of one goroutine. Nil stands for one of
	// the session's own.
	Shared *Shared
}

const (
	defaultMaxMessages   = 100
	defaultMaxCompressed = 64 << 10
	defaultMaxInflated   = 1 << 20
)

// DefaultConfig returns the configuration that the zero value stands for.
func DefaultConfig() (c Config) {
	c.setDefaults()
	return c
}

// setDefaults fills in what is not set, but for Shared.
func (c *Config) setDefaults() {
	if c.MaxMessages <= 0 {
		c.MaxMessages = defaultMaxMessages
	}
	if c.MaxCompressed <= 0 {
		c.MaxCompressed = defaultMaxCompressed
	}
	if c.MaxInflated <= 0 {
		c.MaxInflated = defaultMaxInflated
	}
}

// Stats counts what the limits of sessions bound, and when these were reached.
type Stats struct {
	Unlisted   uint64 // messages that are not told one by one because of MaxMessages
	Uninflated uint64 // messages not inflated to their end because of MaxCompressed or MaxInflated

	// As it stands now, of sessions without a record.
	Listed int // messages that are told one by one
	Held   int // bytes of their content, of messages in progress, and of what compressed ones refer to
}

// Agreement is what the handshake agreed on.
type Agreement struct {
	Extensions  string // the values of the response's Sec-WebSocket-Extensions, joined by commas
	Subprotocol string // of its Sec-WebSocket-Protocol
	Unseen      bool   // there may be more: a compressed message tells that this was agreed on
	// ContentLimit is how many bytes of messages are kept of each end, together.
	ContentLimit int
}

// Session is one WebSocket. It belongs to one goroutine.
type Session struct {
	cfg      Config
	sides    [2]side // client, server
	record   capstanv1.WebSocket
	free     []capstanv1.WebSocketMessage // memory for those of the record
	compress bool
	listed   int // as Stats has it
	held     int // likewise
}

// New returns a session whose first bytes follow the handshake.
func New(cfg Config, a Agreement) *Session {
	cfg.setDefaults()
	if cfg.Shared == nil {
		cfg.Shared = new(Shared)
	}
	s := &Session{cfg: cfg}
	var keepsNone [2]bool
	s.record.Compression, keepsNone = parseExtensions(a.Extensions)
	s.compress = s.record.Compression || a.Unseen
	s.record.Subprotocol = strings.ToValidUTF8(a.Subprotocol, "\uFFFD")
	for i := range s.sides {
		s.sides[i] = side{s: s, client: i == 0, room: max(a.ContentLimit, 0), noTakeover: keepsNone[i]}
	}
	s.record.Client, s.record.Server = &s.sides[0].count, &s.sides[1].count
	return s
}

// parseExtensions reports whether permessage-deflate is among the extensions,
// and for which ends each message is compressed by itself.
func parseExtensions(list string) (compression bool, noTakeover [2]bool) {
	for more := true; more; {
		var one string
		one, list, more = strings.Cut(list, ",")
		name, parameters, _ := strings.Cut(one, ";")
		if !strings.EqualFold(strings.TrimSpace(name), "permessage-deflate") {
			continue
		}
		for p := range strings.SplitSeq(parameters, ";") {
			key, _, _ := strings.Cut(strings.TrimSpace(p), "=")
			switch strings.ToLower(key) {
			case "client_no_context_takeover":
				noTakeover[0] = true
			case "server_no_context_takeover":
				noTakeover[1] = true
			}
		}
		return true, noTakeover
	}
	return false, noTakeover
}

// list adds a message to the record. They are allocated as many at once as there
// are already.
func (s *Session) list() *capstanv1.WebSocketMessage {
	if len(s.free) == 0 {
		s.free = make([]capstanv1.WebSocketMessage, max(1, len(s.record.Messages)))
	}
	m := &s.free[0]
	s.free = s.free[1:]
	s.record.Messages = append(s.record.Messages, m)
	return m
}

func (s *Session) side(fromClient bool) *side {
	if fromClient {
		return &s.sides[0]
	}
	return &s.sides[1]
}

// Data takes the next bytes of an end, as one segment carried them at a time in
// nanoseconds. It keeps nothing of b.
func (s *Session) Data(fromClient bool, time int64, b []byte) {
	s.side(fromClient).data(time, b)
	s.measure()
}

// Gap takes the news that the next n bytes of an end were not captured.
func (s *Session) Gap(fromClient bool, n int64) {
	s.side(fromClient).gap(n)
	s.measure()
}

// Lost takes the news that an unknown number of bytes of an end was not captured.
func (s *Session) Lost(fromClient bool) {
	s.side(fromClient).lost()
	s.measure()
}

// measure has Stats tell what s holds.
func (s *Session) measure() {
	held := 0
	for i := range s.sides {
		d := &s.sides[i]
		held += len(d.message.content) + len(d.signal.content) + len(d.inflate.window) + d.kept
	}
	s.told(len(s.record.Messages), held)
}

// told has Stats tell that s holds so much now.
func (s *Session) told(listed, held int) {
	stats := &s.cfg.Shared.Stats
	stats.Listed += listed - s.listed
	stats.Held += held - s.held
	s.listed, s.held = listed, held
}

// Drop ends a session that no record is wanted of. Behind Record it does nothing.
func (s *Session) Drop() { s.told(0, 0) }

// Record ends the session and returns its record, which is the session's. What
// was in progress is told as incomplete.
func (s *Session) Record() *capstanv1.WebSocket {
	for i := range s.sides {
		s.sides[i].end()
	}
	s.told(0, 0)
	return &s.record
}

// Unfinished reports whether an end is within a message, or a frame.
func (s *Session) Unfinished() bool { return s.sides[0].unfinished() || s.sides[1].unfinished() }

// Closed reports whether both ends have said that they close.
func (s *Session) Closed() bool { return s.sides[0].count.Closed && s.sides[1].count.Closed }
