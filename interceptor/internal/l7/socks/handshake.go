package socks

// Handshake is what both ends have said. [New] makes one; bytes and gaps of each end are to
// come in order.
type Handshake struct {
	client client
	server server
}

// New returns a handshake of which nothing was said. late tells that the connection began
// before what was seen of it, so that the first messages may be missing.
func New(late bool) *Handshake {
	h := new(Handshake)
	h.client.late, h.server.late = late, late
	return h
}

// Verdict is what a handshake was found to be.
type Verdict uint8

const (
	// Pending: not all was said.
	Pending Verdict = iota
	// None: this is something else than SOCKS.
	None
	// Made: a tunnel was made, which begins at [Handshake.Starts].
	Made
	// Ended: it is SOCKS, but no tunnel that can be looked into. The proxy refused, what was
	// asked for is something else than a connection, or what follows is encapsulated.
	Ended
)

// Versions of the protocol, the first byte of what a client says.
const (
	version4 = 4 // 4A included
	version5 = 5
)

// Begins reports whether a client may begin with byte b.
func Begins(b byte) bool { return b == version4 || b == version5 }

// Client takes the next bytes of the client; offset is that of b[0] in its stream. b is not
// kept.
func (h *Handshake) Client(b []byte, offset int64) {
	if h.client.chosen = h.server.choice; !h.server.closed() {
		h.client.take(b, offset, h.client.message)
	}
}

// Server is Client for the proxy.
func (h *Handshake) Server(b []byte, offset int64) {
	h.server.version = h.client.version
	h.server.late = h.server.late && !h.client.offers.known
	h.server.take(b, offset, h.server.message)
}

// ClientGap takes the news that n bytes of the client, from offset on, were not captured.
func (h *Handshake) ClientGap(offset, n int64) { h.client.gap(offset, n) }

// ServerGap is ClientGap for the proxy. Where more is missing than can come before the
// reply, that is among it.
func (h *Handshake) ServerGap(offset, n int64) {
	h.server.gap(offset, n)
	if h.client.version == version4 || h.server.gapLen > maxBeforeReply {
		h.server.giveUp()
	}
}

// Settle tells that nothing more is to come: what was not captured held the rest.
func (h *Handshake) Settle() {
	h.client.giveUp()
	h.server.giveUp()
}

// Verdict tells what the handshake is by what was said so far.
func (h *Handshake) Verdict() Verdict {
	c, s := &h.client, &h.server
	switch over := c.done && s.done; {
	case c.strange, s.strange, !h.agrees(), over && !h.Proven():
		return None
	case s.taken > 0 && h.Proven() && (s.refused || s.closed() || over && c.command > commandConnect):
		return Ended
	case over:
		return Made
	}
	return Pending
}

// agrees reports whether the server chose, if it did, of what the client has offered.
func (h *Handshake) agrees() bool {
	s, offers := &h.server, &h.client.offers
	return !s.choice.known || s.choice.method == methodRefused || !offers.known || offers.has(s.choice.method)
}

// Proven reports whether what was said can hardly be anything but SOCKS: each end has said
// something of it, or the client its whole request.
func (h *Handshake) Proven() bool {
	return h.client.taken > 0 && (h.server.taken > 0 || h.client.taken > weak)
}

// Starts returns the offsets at which what is in the tunnel begins in both streams, once it
// is made: those of what is missing, if the last message was not seen.
func (h *Handshake) Starts() (client, server int64) { return h.client.start, h.server.start }

// Version returns 4 or 5, or 0 if the client has not said a whole message.
func (h *Handshake) Version() int {
	if h.client.taken == 0 {
		return 0
	}
	return int(h.client.version)
}

// Command returns what the client asked for: 1 for a connection to Target, 2 for one from
// it (BIND), 3 for a relay of datagrams; 0 if that was not seen.
func (h *Handshake) Command() int { return int(h.client.command) }

// Target returns whom the client named, as host:port; empty if that was not seen.
func (h *Handshake) Target() string { return h.client.target }

// Reply returns the code of the server's reply, if that was seen: 0 (version 5) or 90
// (version 4) grants the request.
func (h *Handshake) Reply() (code int, ok bool) { return int(h.server.reply), h.server.replied }
