package defrag

import "strconv"

// DropReason tells why a fragment became part of no datagram.
type DropReason uint8

// The reasons to drop fragments.
const (
	DropTimeout   DropReason = iota // the rest of its datagram did not come in time
	DropLimit                       // the room for datagrams was used up
	DropShed                        // by Shed
	DropRepeated                    // nothing in it is new
	DropOverlap                     // of an IPv6 datagram whose fragments overlap
	DropMalformed                   // impossible length or offset
	DropTruncated                   // cut by a snap length
	DropEnd                         // the capture ended before its datagram

	// NumDropReasons is the number of reasons.
	NumDropReasons = int(DropEnd) + 1
)

var dropReasonNames = [NumDropReasons]string{
	DropTimeout: "timeout", DropLimit: "limit", DropShed: "shed", DropRepeated: "repeated", DropOverlap: "overlap",
	DropMalformed: "malformed", DropTruncated: "truncated", DropEnd: "end-of-capture",
}

// String returns a short name fit for a metric label.
func (r DropReason) String() string {
	if int(r) < NumDropReasons {
		return dropReasonNames[r]
	}
	return "DropReason(" + strconv.Itoa(int(r)) + ")"
}

// Stats counts what a defragmenter did. At any time
//
//	Fragments = Joined + Waiting + the sum of Dropped
type Stats struct {
	Fragments uint64
	Joined    uint64 // became part of a datagram
	Datagrams uint64 // handed out
	Dropped   [NumDropReasons]uint64
	Waiting   int // for the rest of their datagram
	Charge    int // what Config.MaxBytes bounds, now

	Overlaps  uint64 // IPv4 fragments that cover bytes of others
	Conflicts uint64 // those that differ from what they cover
}

// DroppedFragments returns the sum of Dropped.
func (s *Stats) DroppedFragments() uint64 {
	var n uint64
	for _, d := range s.Dropped {
		n += d
	}
	return n
}
