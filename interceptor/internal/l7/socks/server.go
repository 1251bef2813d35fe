package socks

// server is what the proxy has said.
type server struct {
	end
	choice   choice
	admitted bool // the user name and password
	refused  bool
	replied  bool
	reply    byte
}

// choice is the method of authentication that a server of version 5 has chosen.
type choice struct {
	known  bool
	method byte
}

// Methods of authentication (RFC 1928 §3).
const (
	methodNone     = 0x00
	methodPassword = 0x02 // RFC 1929
	methodRefused  = 0xff
)

// closed reports whether what follows the choice can't be read: other methods have messages
// of their own, and may encapsulate all that follows (RFC 1961 §5).
func (s *server) closed() bool {
	switch s.choice.method {
	case methodNone, methodPassword, methodRefused:
		return false
	}
	return s.choice.known
}

// Codes of a reply that grants the request.
const (
	granted4 = 90
	granted5 = 0
)

// message takes the message at the start of b.
func (s *server) message(b []byte) int {
	switch {
	case s.version == version4:
		return s.reply4(b)
	case s.choosing(b):
		return s.choose(b)
	case b[0] == versionPassword && !s.admitted && (s.choice.method == methodPassword || !s.choice.known):
		return s.status(b)
	case b[0] == version5 && (s.choice.method != methodPassword || s.admitted || s.gapLen > 0):
		return s.reply5(b)
	}
	return invalid
}

// choosing reports whether b is to be the first message. Where that may be missing, the
// third byte of a reply tells, which is reserved.
func (s *server) choosing(b []byte) bool {
	if s.taken > 0 || s.gapLen > 0 {
		return false
	}
	return !s.late || b[0] == version5 && len(b) > 2 && b[2] != 0
}

// choose takes a choice of method (RFC 1928 §3).
func (s *server) choose(b []byte) int {
	switch {
	case b[0] != version5:
		return invalid
	case len(b) < 2:
		return incomplete
	}
	s.choice = choice{true, b[1]}
	s.refused = b[1] == methodRefused
	s.done = s.refused || s.closed()
	s.taken += weak
	return 2
}

// status takes the answer to a password (RFC 1929 §2).
func (s *server) status(b []byte) int {
	if len(b) < 2 {
		return incomplete
	}
	s.admitted, s.refused = b[1] == 0, b[1] != 0
	s.done = s.refused
	s.taken += weak
	return 2
}

// maxBeforeReply is the length of a choice and a status.
const maxBeforeReply = 4

// reply5 takes a reply of version 5 (RFC 1928 §6). One that refuses may be cut short.
func (s *server) reply5(b []byte) int {
	if len(b) < 2 {
		return incomplete
	}
	if b[1] != granted5 {
		s.answer(b[1], weak)
		s.refused = true
		return len(b)
	}
	_, n := address(b)
	if n > 0 {
		s.answer(granted5, strong)
	}
	return n
}

// reply4 takes a reply of version 4, whose version is 0.
func (s *server) reply4(b []byte) int {
	const maxCode, length = 93, 8
	switch {
	case b[0] != 0, len(b) > 1 && (b[1] < granted4 || b[1] > maxCode):
		return invalid
	case len(b) < length:
		return incomplete
	}
	s.answer(b[1], strong)
	s.refused = b[1] != granted4
	return length
}

// answer notes the reply, the last message.
func (s *server) answer(code byte, weight int) {
	s.replied, s.reply, s.done = true, code, true
	s.taken += weight
}
