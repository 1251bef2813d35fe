package reassembly

import "strconv"

// DropReason tells why payload was neither delivered nor a repetition of bytes
// that were.
type DropReason uint8

// The reasons to drop payload.
const (
	DropAfterClose  DropReason = iota // on a tuple that lingers
	DropAfterFIN                      // beyond the end its sender declared
	DropBeforeStart                   // before the first byte known of a midstream direction
	DropOutOfWindow                   // further ahead than any window reaches
	DropSYN                           // on a SYN that the peer's SYN-ACK did not accept
	DropRST                           // the text of a reset (RFC 9293 §3.10.7)
	DropStray                         // belongs to no connection
	DropUrgent                        // taken out of the stream by UrgentOutOfBand

	// NumDropReasons is the number of reasons.
	NumDropReasons = int(DropUrgent) + 1
)

var dropReasonNames = [NumDropReasons]string{
	DropAfterClose: "after-close", DropAfterFIN: "after-fin", DropBeforeStart: "before-start",
	DropOutOfWindow: "out-of-window", DropSYN: "syn", DropRST: "rst", DropStray: "stray", DropUrgent: "urgent",
}

// String returns a short name fit for a metric label.
func (r DropReason) String() string {
	if int(r) < NumDropReasons {
		return dropReasonNames[r]
	}
	return "DropReason(" + strconv.Itoa(int(r)) + ")"
}

// Stats counts what an assembler did since it was made. At any time
//
//	PayloadBytes = DeliveredBytes + DuplicateBytes + CopyBytes + QueuedBytes + the sum of DroppedBytes
//	Opened = Active + the sum of Closed
type Stats struct {
	Segments     uint64 // handed to Segment
	PayloadBytes uint64 // captured payload in them
	MissingBytes uint64 // payload in them that a snap length cut off, repetitions included

	DeliveredBytes uint64 // handed to handlers as data
	GapBytes       uint64 // handed to handlers as gaps
	Gaps           uint64
	DuplicateBytes uint64 // repeat bytes seen before: retransmissions, keep-alive probes
	CopyBytes      uint64 // of packets captured a second time
	DroppedBytes   [NumDropReasons]uint64

	OutOfOrder     uint64 // segments that had to wait
	Duplicates     uint64 // segments with payload of which nothing was new
	Copies         uint64 // segments that are packets captured a second time, at another point or at the same
	Conflicts      uint64 // segments that overlap bytes seen before and differ from them, as far as is known
	UrgentSegments uint64 // segments with an urgent pointer
	Shed           uint64 // holes declared lost because MaxQueuedTotal was reached, or by Assembler.Shed
	StreamShed     uint64 // holes declared lost because MaxHoleBytes was reached, or 4,096 pieces
	LateSegments   uint64 // segments on a tuple that lingers
	StraySegments  uint64 // segments that neither belong to a connection nor start one
	IgnoredRST     uint64 // resets that are not in order
	IgnoredSYN     uint64 // SYN-ACKs that answer no SYN seen

	Beyond          uint64 // segments that may repeat one that was seen longer ago than History reaches
	EvictedTuples   uint64 // forgotten because MaxConnections was reached
	ShedTuples      uint64 // forgotten by Assembler.Shed
	ShedHistory     uint64 // segments that copies and repetitions are held against, forgotten by it
	ShedConnections uint64 // closed by it; they are in Closed[CloseEvicted], too

	Opened   uint64
	Closed   [NumCloseReasons]uint64
	Handlers uint64 // connections that had anything to tell

	// As it stands now.
	Active      int // connections
	Lingering   int // tuples remembered after a close
	QueuedBytes int // payload that waits behind holes
	Charge      int // what MaxQueuedTotal bounds: that, and 64 bytes for each piece
	Remembered  int // segments that copies and repetitions are held against
}

// Dropped returns the sum of DroppedBytes.
func (s *Stats) Dropped() uint64 {
	var n uint64
	for _, d := range s.DroppedBytes {
		n += d
	}
	return n
}
