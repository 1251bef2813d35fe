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
// frame is skipped exactly, since the frame's length is known; of a header block the
// fields before it are told. After any other
// gap the half has lost its place: what the streams of that direction said is
// damaged, the state of HPACK is not known (package hpack tells what that
// means), and the half looks for the next frame.
//
// # Losses without a header block
//
// Within a long body a loss takes the header of a frame of DATA, and between messages an
// update of a window: no header block. HPACK's table is known on once that is shown,
// by what RFC 9113 says of streams (§5.1.1, §8.1, §8.4) and by what calls of gRPC don't have:
//
//   - A client opens streams in the order of their numbers: it opened none meanwhile if the
//     next one that it opens has the next number. Of a request that was not over nothing but
//     trailers can be missing, and they are not if another frame of it follows. A call has none.
//   - A server sends nothing of a response that is over, and of one that has begun no header
//     block but trailers. Before that interim responses can be missing, unless it is a
//     call's. Each stream that the client may have opened has to be known, and promises
//     have to be refused, unless all streams are calls.
//
// Anything less leaves the table unknown. Where frames show it that a body may have
// imitated, what the table held before is told in doubt (see below).
//
// # Losses with header blocks
//
// With Config.InferFields, on a connection that carries calls of gRPC and nothing else, the next calls tell what the
// table is, although nobody knows how much the lost blocks brought in front of what was there. Each request has
// te: trailers, and a table that has a field is not given it again, so where
// a request refers to it tells how many insertions were lost. They may refer to other entries in
// its place, so all else that the request has must agree, and with one number only:
// pseudo-header fields in front, :authority, :path, one content type, and that of gRPC.
//
// Of the server's direction two sections have to agree that nothing was lost of what it inserts: the head of a response
// refers to the content type where it was, then trailers to a grpc-status, and all else in them is
// what trailers have. Where calls have several content types nothing is known.
//
// This rests on four things that are looked for first, and nothing is known where one isn't so:
//
//   - Entries leave the table only because others come. Its encoder has never made it smaller
//     once it had any, and the other end has not asked for that.
//   - Nothing is inserted twice: no two entries are the same.
//   - What is missing can't have been enough for that field to leave: each byte is
//     reckoned to bring four, or twice what those of the blocks before brought if that is more.
//   - What comes later agrees: each section with fields that are known so has to be one of a
//     call. One that isn't takes all of them back, for as long as the connection lasts.
//
// They are what all encoders do that are known, and no RFC says so. It goes wrong where the first time that an encoder does otherwise is in what
// was lost (it shrinks the table unasked, or as a SETTINGS frame asks for that is lost too; it inserts a field twice; it inserts
// far more than before), and then has its entries by chance where others were. So what is known by this is marked as what is in doubt (see below).
//
// # Finding a frame
//
// Nothing marks the start of a frame. What looks like one (a length within the
// limit, a type with the flags, length and stream that it may have, and that agrees
// with the streams that are known) is believed only with a witness:
//
//   - it starts where a segment does, and frames follow each other up to the end
//     of that segment or another, of which the end may be missing;
//   - it is the first thing seen of its direction, and another follows;
//   - it starts anywhere, and it or those that follow it are too unlikely to be
//     there by chance, among bytes like those around: in text or in what is
//     compressed one is enough, among small numbers none is;
//   - it starts anywhere behind another, and frames follow each other for longer
//     than a frame is to be reckoned with: as the peer allows, but no more than
//     16 KiB or twice the longest seen.
//
// Frames are followed over missing bytes, the number of which is known; what can't
// be followed is a frame whose header is among them. Until one is believed up to
// 64 KiB are held, and read then. A header block that no peer would send (HPACK
// breaks, a name is no name) takes the belief back.
//
// What looking costs is bounded by what came: each place is looked at once, however many
// frames lead to it; each byte gives a credit, 64 Ki of which may be saved up, a place
// that could be a header's takes 6, and seeing how likely each of its bytes is by chance
// 8. Text, and what is compressed, takes less than it gives. Where a body of small numbers has used it
// up, frames are looked for where segments start, and those found before are followed,
// until more has come: SearchCuts counts the segments.
//
// # What a body can imitate
//
// Chance is ruled out by this, intent is not: who makes a body, and is lucky with
// what is lost, can have it taken for frames. A body is interrupted by the frames
// that carry it. So whatever is told of a stream by frames that were found, until they
// have followed each other for longer than a frame is to be reckoned with, is
// marked with the flaw PLACE_GUESSED; so is later what refers to header fields that
// came into HPACK's table meanwhile, or that are known on because of such frames, or by calls. A request so told that the server, which is
// heard, says nothing of is not told, and the next one on its stream replaces it.
// Where all requests were seen, the server's frames must be of streams that are open.
//
// Beyond this is a frame far longer than those before that holds others.
//
// # Joining late
//
// A connection of which the start was not seen is one that has lost its place
// in both directions. Who is the client is told by the handshake, else by the
// first header block with :method or :status. Streams whose header section
// passed before have only what came later, and the flaw HEADERS_UNKNOWN.
//
// What HPACK's table held then is never known: neither what a reference to it is, nor the name
// that one gives to a value. Calls of gRPC without deadlines or fields of their own insert nothing
// any more, so their paths, content types and statuses stay unknown. That they are calls is told
// by their bodies: where the content type of a request may be among what is not known, and the request
// is nothing but messages, up to its end, and so is the response, and trailers follow. No other
// protocol is known that does so. A call that failed may have no such response; it is told
// as one where there were others.
//
// With Config.InferFields one field of its trailers is grpc-status: where a name is a reference, but the value was sent,
// as that of a new status is, the only field that may be a number is it. What is told by this, or
// by messages, has the flaw PLACE_GUESSED.
//
// Nothing else is inferred: not that a call with a response has succeeded, since servers of grpcio
// that set a code send a message, too; and no name by what its value looks like, since
// elastic-apm-traceparent looks like traceparent.
//
// What calls tell behind a loss (see above) they tell, with Config.InferFields, on such a connection, too, once it has
// inserted what they refer to. Its table is at least as large as what it was seen to have at once.
//
// # Streams
//
// A stream is emitted once both directions have ended it, one has reset it, or
// GOAWAY refused it. Where the end of one may have been lost, it is emitted when
// the other has ended and, if that is the request, nothing came for a while. A
// response is told without request as soon as everything that its sender had
// received has been looked at. Where nothing of a direction was captured, though its
// receiver acknowledges data, requests and responses of the other are told as they end.
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
// become U+FFFD, one for each run of them. Metadata of gRPC whose name ends in -bin is in
// base64 also where gRPC's C core sends it to itself as it is, behind a zero byte, which
// HTTP/2 forbids.
package http2
