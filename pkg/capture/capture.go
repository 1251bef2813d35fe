// Package capture holds the words that every stage of the pipeline shares: the
// captured frame, its link type, its direction and the counters of a capture.
//
// The package has no behaviour of its own and knows neither sockets nor files,
// so that a client, a file reader and the kernel ring can speak of the same
// frame without importing one another.
package capture

// Frame is one link-layer frame as the client of a capture sees it: a VLAN tag
// that the kernel stripped is back in place, and on cooked devices the cooked
// header stands in front.
type Frame struct {
	// Timestamp is the time of capture in nanoseconds since the Unix epoch.
	// RPCAP carries microseconds, so frames that travelled over it end in 000.
	Timestamp int64
	// Data are the captured bytes, at most Len of them. Who owns them and how
	// long they stay valid is stated by whoever hands the frame out.
	Data []byte
	// Len is the length of the frame on the wire in bytes. It exceeds
	// len(Data) when a snap length cut the frame.
	Len int
	// LinkType tells how Data starts.
	LinkType LinkType
	// Interface numbers the interface that the frame was seen at, from 1 and
	// within its source; 0 if the source has only one or doesn't tell.
	Interface uint32
}

// Truncated reports whether a snap length cut the frame.
func (f *Frame) Truncated() bool { return len(f.Data) < f.Len }

// Buffers lends memory to who reads frames, and so decides how long these stay: a
// reader reads into the buffer that it was lent last, and never again into one
// that it has exchanged.
type Buffers interface {
	// Exchange takes back what was lent before, if anything, and lends a buffer
	// of n bytes at least, perhaps the same.
	Exchange(n int) []byte
}

// Direction is the way a frame took through the interface it was captured on.
type Direction uint8

// The directions of a frame, seen from the host that captures.
const (
	DirectionUnknown Direction = iota
	DirectionIn
	DirectionOut
)

// String returns "in", "out" or "unknown".
func (d Direction) String() string {
	switch d {
	case DirectionIn:
		return "in"
	case DirectionOut:
		return "out"
	default:
		return "unknown"
	}
}

// Stats counts the frames of one capture since its start. Every frame that
// reached the capture point is in exactly one of Excluded, Filtered, Sampled,
// Dropped and Matched; every matched one is in exactly one of Sent and Undelivered
// as soon as the capture has ended.
type Stats struct {
	Seen        uint64 // frames that reached the capture point
	Excluded    uint64 // left out by rule: own data connections, loopback's second copy, what the device's parameters leave out
	Filtered    uint64 // refused by the client's filter
	Sampled     uint64 // accepted by the client's filter, left out by its sampling
	Dropped     uint64 // matched, but lost since the ring was full
	Matched     uint64 // matched and put into the ring
	Sent        uint64 // handed to the client's data connection
	Undelivered uint64 // in the ring, but not sent before the capture ended

	// InterfaceDropped counts what the network interface itself lost before
	// any capture point; such frames are not in Seen.
	InterfaceDropped uint64
}
