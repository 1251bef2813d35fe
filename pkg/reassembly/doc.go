// Package reassembly turns the TCP segments of a capture into the ordered bytes
// and the explicit gaps of each direction of each connection.
//
// An [Assembler] belongs to one goroutine. It has no clock, time is the
// packets' own; it starts no goroutine; its memory is bounded by [Config]. What
// it learns it tells to one [Handler] per connection, by calls that carry
// slices of the segment itself whenever the segment is in order.
//
// # Order, loss and doubt
//
// Bytes beyond the next expected one are copied and wait: the bytes between are
// a hole. A hole is filled, or it is declared lost ([Handler.Gap]) when
//
//   - the peer has acknowledged everything up to its end and AckTolerance has
//     passed since (an ACK may be captured before the data it answers),
//   - it is HoleTimeout old, or RetransmitTimeout if the peer's ACKs stand before it:
//     then it is lost on the wire, not for the capture, and comes again,
//   - more than MaxHoleBytes, or 4,096 pieces, wait behind it, or more than
//     MaxQueuedTotal in all, where the oldest hole goes first,
//   - the connection is closed, by whatever reason.
//
// A hole at the end, with nothing seen behind it, is lost once both the peer's
// ACK and the sender's own sequence number are past it, and at the latest when
// the connection closes. A FIN that was not captured looks like one more byte
// there; it is told apart by the other direction's FIN, and a single byte is
// never called a gap. Conn.EndUnseen tells where only that seems to be missing.
//
// Data that was captured before what it answers, as its acknowledgement tells, waits for
// that, AckTolerance at most, or twice that if the other direction has a hole that is to be
// declared: handlers are told things in an order in which the ends can have seen them,
// unless the other direction is not captured.
//
// Of bytes that arrive twice the first stay, those queued included unless Overlap
// says otherwise. A difference is counted and told (Conn.Conflict). Delivered bytes are not kept: those that
// come again are compared with the first 64 bytes of each of the latest segments.
//
// A packet that is captured a second time, at another interface or at the same,
// is a copy and not a retransmission: it equals the first in all that TCP says,
// and in its IP identification or, where that is 0, was seen elsewhere.
//
// An urgent byte stays in the stream unless UrgentOutOfBand is set.
//
// # Joining and leaving
//
// A connection is known from its first segment, with a handshake or without
// (then Conn.Midstream is set); a bare FIN or RST starts none. Data that was
// captured before its sender's SYN waits for that, as behind a hole, if the other
// end's SYN is known. A reset that was captured before what its sender had sent, or
// acknowledged, until then waits for that, AckTolerance at most. After a close by FIN
// or RST the tuple is kept until nothing
// but bare ACKs came for Linger, so that late segments are recognised as such.
// A SYN that takes no number itself, as those of some generators, is told by an answer to
// just its own number and by data that begin there. A SYN with another sequence number replaces a connection once its answer, or what
// follows it, has its number; until then the connection goes on.
//
// Timestamps (RFC 7323) tell packets apart, no more: a segment that its receiver
// drops as too old is a repetition in all but the strangest cases, and dropping
// one that was taken would lose data.
//
// Timeouts run on a [Clock] that the packets' times drive. It never runs back: it
// stands still while packets come late, and goes on with them if they stay late.
//
// Limits of what a passive observer can know: a jump of more
// than 1 GiB in one hole (the largest window TCP has) is taken for a stray
// segment unless the peer has acknowledged it.
package reassembly
