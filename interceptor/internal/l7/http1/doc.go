// Package http1 turns the ordered bytes and gaps of a connection into HTTP/1
// exchanges (RFC 9110, RFC 9112).
//
// [Conn] is a push parser: it is fed whatever a segment carried, may stop at
// any byte, starts no goroutine, copies nothing but heads and the bodies that
// are to be kept, and never refuses: a passive observer has to guess what the
// two ends made of a message, say so (MALFORMED), and go on.
//
// # A direction
//
// Each direction is a half that knows what it expects next: the start of a
// message, more of a head, bytes of a body framed by length, by chunks or by
// the end of the stream (RFC 9112 §6.3), another protocol after 101 or CONNECT.
// A gap inside a body or chunk of known length is skipped exactly. After any
// other gap, and after bytes that can't be HTTP, the half has lost its place: it
// ends the message in progress and passes over everything until a start line
// shows at the start of a segment (see [LooksLikeRequest]). Each time that
// happens a new epoch of the half begins. A method there that is none of the common ones may
// be the rest of one: the exchange has the flaw PLACE_GUESSED.
//
// A client that is refused by the response to its head often doesn't send the body: a
// request at the start of a segment is one, if nothing of a body has come that its
// sender has the response to; or, since it waits for 100 (Continue), more than that, which
// is missing. If the start of such a body is missing, so may be the next request: the place
// is lost.
//
// Where the place is lost among the chunks of a body, what is passed over is searched
// for more of it: two lines that tell sizes, the second where the first says, are
// believed, and so is the end, if nothing of the body follows. Of what lies between,
// nothing is counted, and the exchange has the flaw PLACE_GUESSED: a body can imitate
// this. It can't make a message of it, since what ends and begins messages there is
// what does so wherever the place is lost.
//
// The end that connected is the client, unless the other one speaks first and
// sends a request. Without a handshake the roles come from the content: whoever sends a request
// line first is the client. A connection joined in the middle of a body that
// holds a request line at the start of a segment can be read the wrong way
// round; its records then have one half each.
//
// What the records hold does not depend on how the streams are cut into
// segments, as long as no half loses its place.
//
// # Pairing
//
// A wrong pair is worse than none. As long as nothing was missed, the n-th
// response answers the n-th request. After a loss that may have held the start
// of a message, on a connection joined midstream, and behind a message that not
// everybody sees end at the same place (as one with both Content-Length and
// Transfer-Encoding, RFC 9112 §11.2), counting is of no use, and the acknowledgement
// numbers bear witness instead: each segment tells how many
// bytes of the other stream its sender had received (Chunk.Acked). With
//
//	Q.start   offset of the first byte of request Q
//	Q.acked   response bytes the client had received when it sent that
//	S         offset of the first byte of a response, its 1xx responses included
//	R.acked   request bytes the server had received when it sent that
//	R.prior   the same for the byte before it, S-1
//
// these hold always, and a response that violates them is not paired with the
// first pending request, whatever the count says:
//
//	R.acked > Q.start    nobody answers what he has not received
//	Q.acked ≤ S          nobody asks for what he is being told already
//
// In doubt a response is paired with request Q only by the exact rule:
//
//	Q.acked = S and R.acked > Q.start, the client was not seen to pipeline, and
//	R.prior = Q.start, or no request can have been missed just before Q.
//
// For a client that waits for each response before it asks again, Q.acked = S
// says that Q was sent after exactly the responses before S. R.prior = Q.start
// says that the server had received all that comes before Q when it sent the
// last byte before S. That refutes a request, lost to us, which was sent in one
// burst with Q (it would have been sent, and received, after S-1 had arrived at
// the client), and it refutes request lines inside the body of an upload. The
// requests before Q then certainly have no response that could still come, and
// from Q on the count is good again.
//
// A client is known to pipeline when a request has the acked of the one before
// it, or of that one's last byte while it has no response, or less; when it was sent
// before the end of an earlier request's response, or of one that was passed over;
// when a response was sent by a server that had
// received more than the request it answers; when the first rule above is violated
// by a request that was sent before the response; when requests may have been missed
// and a response comes from a server that had received nothing that was sent after
// all before it, or nothing since it sent the response just before; when a request
// line is inside a segment that was passed over. It is then never again believed in
// doubt: what can't be counted is emitted in halves, and at once.
//
// The end of a segment that a snap length cut off is known as well: reassembly.Gap
// tells what its sender had received.
//
// Where the byte before S was not seen, as with the first exchange of a
// connection joined midstream, the request must be the only one pending and
// R.acked its very end. What was sent before it, if that is known of, must have been
// sent by a client that had received less than Q.acked: else S answers that. Such a pair
// is withheld until the next response confirms that the client works in lockstep. If
// something else comes, the halves are emitted apart. If nothing does, and the client's
// FIN tells that nothing more was owed, or nothing else was seen at all, also where the
// response was still under way, the pair is emitted with the flaw PLACE_GUESSED: it is
// wrong if the capture began within a pipelined burst. A server that is the first to close
// may leave requests without an answer: its FIN tells nothing, unless the client had asked
// it to close.
//
// On a connection joined midstream all pairs are withheld until the client has been seen to
// wait: it has had all responses for a quarter of a second when it asks again, or asks for what
// only who waits asks for (101, CONNECT), or has gone on in lockstep for eight exchanges, or
// the connection is over. A response that nothing pending can have asked for refutes them,
// and so does another response in place of a body, since one to HEAD was taken for one to
// something else; what is no HTTP behind a response may tell the like, or be a server's
// fault, so they are emitted with PLACE_GUESSED. The first pair behind a loss of
// requests is withheld like that until the next message, on any connection.
//
// Where only 100 (Continue) is missing, S is 25 bytes behind Q.acked, and R.prior is not
// known. The response is that to Q if Q asked for this, is the only request pending, with
// nothing missed before it, its last byte was sent by a client that had received all before
// S, and R.acked is its very end. The exchange has the flaw GAP.
//
// A switch of protocols (101) answers the last request, if that asks for one and the
// server had received nothing behind it: nobody sends HTTP behind such a request before it
// is answered. What is no HTTP behind it is held until the answer is known, as is all that
// follows CONNECT. If that is a refusal, what is held is read as what the server may take it
// for: requests. A 101 that the request does not ask for has the flaw MALFORMED, and what
// follows is told by its bytes alone. Where the answer is missing, a client that goes on
// after it shows by a ClientHello of TLS that there is a tunnel; a request is one either way.
// Behind a request for WebSocket it shows that by frames, where the server sends frames, too,
// and behind CONNECT without having waited by a ClientHello that a ServerHello answers. Where
// CONNECT is missing, its answer seems to have a body up to the end of the stream: a
// ClientHello, or a request and its response, behind just the head tell better. HTTP is left
// behind a 101 with its request also where a hole is in its head, as a short snap length
// leaves it: what is asked for tells what follows, if what is granted was not seen.
//
// A response may be delivered before its request, when the request waits behind
// a hole in its own direction; R.acked tells. Up to 64 such responses wait.
//
// Where nothing of a direction was captured, not even its SYN, nothing waits for it: a
// response is told alone at once, a request when the client has received more than it had
// then.
//
// One case is beyond any observer: a client that keeps several requests under
// way all the time, sending the next whenever a response has come, to a server
// that is always slower than that next request. Without the beginning, its
// streams are byte for byte those of a client that waits, shifted. Whoever joins
// such a connection midstream, or misses its first requests, gets shifted pairs,
// if it goes on like that for eight exchanges or to its end.
//
// Segments without data tell nothing here. A server that acknowledges by one, before the
// first request seen, seems to owe a response to what was sent before; but some send
// the like to tell of their window.
//
// # Text
//
// Strings are what was sent. Bytes that are not UTF-8, which records can't hold,
// become U+FFFD, one for each run of them. A folded value has its folds replaced
// by one space each. Lines of a head that are no fields are left out, and the
// exchange is marked MALFORMED.
package http1
