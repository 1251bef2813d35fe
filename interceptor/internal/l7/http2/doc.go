// Package http2 turns the ordered bytes and gaps of a connection into the
// exchanges of HTTP/2 (RFC 9113), and calls of gRPC.
//
// [Conn] is a push parser: it is fed whatever a segment carried, may stop at
// any byte, starts no goroutine and copies nothing but header blocks that
// segments cut and the bodies that are to be kept. A request and its response
// belong together because they are on one stream; nothing is counted, so
// nothing can shift.
//
// # A direction
//
// Each direction is a half: the client's preface, then frames. A gap inside a
// frame is skipped exactly, since the frame's length is known. After any other
// gap the half has lost its place: what the streams of that direction said is
// damaged, the state of HPACK is forgotten (package hpack tells what that
// means), and the half looks for the next frame.
//
// # Finding a frame
//
// Nothing marks the start of a frame. What looks like one (a length within the
// limit, a type with the flags, length and stream that it may have) is believed
// only with a witness:
//
//   - it starts where a segment does, and frames follow each other up to the end
//     of that segment or another, of which the end may be missing;
//   - it is the first thing seen of its direction, and another follows;
//   - it starts anywhere behind another, and frames follow each other for longer
//     than a frame is to be reckoned with: as the peer allows, but no more than
//     16 KiB or twice the longest seen. A body that itself holds frames, as that
//     of a tunnel does, is interrupted by the frames which carry it before that.
//
// Until then up to 64 KiB are held, and read once the place is known. A header
// block that no peer would send (HPACK breaks, a name is no name) takes the
// belief back.
//
// Beyond this is HTTP/2 inside HTTP/2, where a segment lost holds the header of
// the outer frame and the next starts and ends with inner ones, or that frame is
// far longer than those before.
//
// # Joining late
//
// A connection of which the start was not seen is one that has lost its place
// in both directions. Who is the client is told by the handshake, else by the
// first header block with :method or :status. Streams whose header section
// passed before have only what came later, and the flaw HEADERS_UNKNOWN.
//
// # Streams
//
// A stream is emitted once both directions have ended it, one has reset it, or
// GOAWAY refused it. Where the end of one may have been lost, it is emitted when
// the other has ended and, if that is the request, nothing came for a while. A
// response is told without request as soon as everything that its sender had
// received has been looked at.
//
// # Cost
//
// A connection with small HPACK tables keeps about 1.4 KiB between exchanges. What
// an exchange needs is used again: it takes half an allocation, the text of its
// header fields, and segments in order take none.
//
// # Text
//
// Strings are what was sent. Bytes that are not UTF-8, which records can't hold,
// become U+FFFD, one for each run of them.
package http2
