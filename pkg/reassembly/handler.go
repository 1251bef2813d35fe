package reassembly

import (
	"strconv"

	"capstan/pkg/flow"
)

// Handler receives what one connection carries. Its methods are called from those
// of the [Assembler] that take segments, tell the time, shed or close, and must not
// call it.
//
// For each direction the offsets of Data and Gap tile the stream: each call
// starts where the one before ended. Times need not ascend: a chunk that had to
// wait keeps the time of its own segment.
type Handler interface {
	// Data hands over the next bytes of direction d. c.Bytes is valid during
	// the call only.
	Data(d flow.Direction, c Chunk)
	// Gap tells that the next g.Len bytes of direction d were not captured; the
	// stream goes on after them.
	Gap(d flow.Direction, g Gap)
	// End tells that the FIN of direction d was reached, at most once. time is
	// that of the segment with the FIN.
	End(d flow.Direction, time int64)
	// Close is the last call, made exactly once. For CloseTimeout and
	// CloseEvicted time is that of the connection's last segment.
	Close(time int64, r CloseReason)
}

// Chunk is a run of bytes in order.
type Chunk struct {
	// Time of the carrying segment in nanoseconds.
	Time int64
	// Offset of Bytes[0] in this direction's stream: 0 is the first byte after
	// the SYN, or the first byte known when the connection was joined midstream.
	// Urgent bytes taken out of the stream don't count.
	Offset int64
	// Acked is the offset in the other direction's stream up to which the
	// sender had received when it sent this segment, -1 if that is unknown. It
	// may lie beyond what was delivered of the other direction.
	Acked int64
	Bytes []byte
}

// Gap is a run of bytes that were on the wire and not in the capture.
type Gap struct {
	// Time of the segment that follows the gap; where none does, of the
	// connection's last segment.
	Time int64
	// Offset of the first missing byte in this direction's stream.
	Offset int64
	// Acked is as in Chunk when a snap length cut the bytes from their
	// segment, else -1.
	Acked int64
	Len   int64
}

// Conn is what is known of a connection. The assembler keeps it up to date; but
// for Handler it is read-only for handlers, and theirs to look at until Close
// returns.
type Conn struct {
	Key flow.Key
	// Handler is who is told what the connection carries, nil before there was
	// anything to tell. A handler may put another one in its place, which is told
	// all that follows.
	Handler Handler
	// Start is the time of the first segment in nanoseconds.
	Start int64
	// Touched is when the last segment came on the assembler's [Clock], in nanoseconds.
	// What is to happen after some time goes by it: the segments' own times may run
	// backwards, or be wrong.
	Touched int64
	// InitialSeq are the sequence numbers of the SYNs by direction, for those
	// that were seen.
	InitialSeq      [2]uint32
	InitialSeqKnown [2]bool
	// Client is the direction of the end that opened the connection, if
	// ClientKnown: the sender of the first SYN, or the receiver of a SYN-ACK.
	Client      flow.Direction
	ClientKnown bool
	// Midstream tells that the first segment was not part of a handshake.
	Midstream bool
	// Unseen tells, by direction, that no segment of it was captured. Where its receiver
	// acknowledges data, none is likely to be: the capture has one side.
	Unseen Directions
	// EndUnseen tells, when Close is called and one direction has ended, that of the other
	// all was captured, or told as gaps, but one sequence number, behind which both ends stand:
	// a FIN, as far as can be known. It may be a single byte, of which Handler.Gap does not
	// tell.
	EndUnseen bool
	// Conflict tells, by direction, that bytes were seen twice and differed. The
	// first ones were kept.
	Conflict Directions
}

// CloseReason tells why a connection was closed.
type CloseReason uint8

// The reasons to close a connection.
const (
	CloseFIN          CloseReason = iota // both directions ended, whatever came then
	CloseRST                             // reset by one end
	CloseTimeout                         // silent too long
	CloseReplaced                        // a new SYN on the same tuple
	CloseEvicted                         // the table of connections was full
	CloseEndOfCapture                    // the source ended
	CloseSourceLost                      // the source failed

	// NumCloseReasons is the number of reasons.
	NumCloseReasons = int(CloseSourceLost) + 1
)

var closeReasonNames = [NumCloseReasons]string{
	CloseFIN: "fin", CloseRST: "rst", CloseTimeout: "timeout", CloseReplaced: "replaced",
	CloseEvicted: "evicted", CloseEndOfCapture: "end-of-capture", CloseSourceLost: "source-lost",
}

// String returns a short name fit for a metric label.
func (r CloseReason) String() string {
	if int(r) < NumCloseReasons {
		return closeReasonNames[r]
	}
	return "CloseReason(" + strconv.Itoa(int(r)) + ")"
}

// discard stands in where newHandler returns nil.
type discard struct{}

func (discard) Data(flow.Direction, Chunk) {}
func (discard) Gap(flow.Direction, Gap)    {}
func (discard) End(flow.Direction, int64)  {}
func (discard) Close(int64, CloseReason)   {}

// Directions is a set of directions.
type Directions uint8

// Has reports whether d is in the set.
func (s Directions) Has(d flow.Direction) bool { return s>>(d&1)&1 != 0 }

// set puts d into the set, or takes it out.
func (s *Directions) set(d flow.Direction, in bool) {
	*s &^= 1 << (d & 1)
	if in {
		*s |= 1 << (d & 1)
	}
}
