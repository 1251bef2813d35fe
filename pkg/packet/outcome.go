package packet

import "strconv"

// Outcome tells what [Decoder.Decode] found in a frame. The set is closed:
// every frame has exactly one outcome, so an array of [NumOutcomes] counters
// accounts for all of them.
type Outcome uint8

// The outcomes of decoding a frame.
const (
	// OutcomeTCP is a whole TCP header; the segment is filled in.
	OutcomeTCP Outcome = iota
	// OutcomeNotIP is a frame that carries neither IPv4 nor IPv6 in a form
	// decoded here: ARP, spanning tree, an unknown link type.
	OutcomeNotIP
	// OutcomeNotTCP is an IP packet of another transport, an encrypted one
	// included.
	OutcomeNotTCP
	// OutcomeFragment is a fragment of an IP packet that carries TCP, or may;
	// Decoder.Fragment is filled in.
	OutcomeFragment
	// OutcomeMalformed is a header that contradicts itself or overruns the
	// packet it stands in.
	OutcomeMalformed
	// OutcomeTruncated is a frame whose headers the snap length cut off.
	OutcomeTruncated
	// OutcomeTooDeep is a frame with more than MaxTunnels tunnels.
	OutcomeTooDeep
	// OutcomeBadChecksum is a packet dropped by ChecksumDrop.
	OutcomeBadChecksum

	// NumOutcomes is the number of outcomes.
	NumOutcomes = int(OutcomeBadChecksum) + 1
)

var outcomeNames = [NumOutcomes]string{
	OutcomeTCP:       "tcp",
	OutcomeNotIP:     "not-ip",
	OutcomeNotTCP:    "not-tcp",
	OutcomeFragment:  "fragment",
	OutcomeMalformed: "malformed",
	OutcomeTruncated: "truncated",

	OutcomeTooDeep:     "too-deep",
	OutcomeBadChecksum: "bad-checksum",
}

// String returns a short name fit for a metric label.
func (o Outcome) String() string {
	if int(o) < NumOutcomes {
		return outcomeNames[o]
	}
	return "Outcome(" + strconv.Itoa(int(o)) + ")"
}
