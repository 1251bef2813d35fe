package packet

import (
	"encoding/binary"
	"fmt"
	"strconv"
)

// ChecksumPolicy tells what a decoder does about checksums of IPv4 and TCP.
type ChecksumPolicy uint8

// The policies.
const (
	ChecksumIgnore ChecksumPolicy = iota // not looked at
	ChecksumCount                        // verified and counted, accepted whatever they are
	ChecksumDrop                         // a packet with a bad one is OutcomeBadChecksum, as its receiver drops it
)

var policyNames = [...]string{"ignore", "count", "drop"}

// String returns "ignore", "count" or "drop".
func (p ChecksumPolicy) String() string {
	if int(p) < len(policyNames) {
		return policyNames[p]
	}
	return "ChecksumPolicy(" + strconv.Itoa(int(p)) + ")"
}

// MarshalText implements encoding.TextMarshaler.
func (p ChecksumPolicy) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler: the inverse of String.
func (p *ChecksumPolicy) UnmarshalText(text []byte) error {
	for i, name := range policyNames {
		if string(text) == name {
			*p = ChecksumPolicy(i)
			return nil
		}
	}
	return fmt.Errorf("checksum policy %q: want ignore, count or drop", text)
}

// Checksum is a verdict.
type Checksum uint8

// The verdicts.
const (
	ChecksumGood Checksum = iota
	// ChecksumPartial holds the sum over the pseudo-header only: the network
	// card is to add the rest. Such a packet was captured where it was sent.
	ChecksumPartial
	ChecksumBad
	// ChecksumUnknown is that of a packet that was not captured to its end, or
	// was seen on its way through a routing header.
	ChecksumUnknown

	// NumChecksums is the number of verdicts.
	NumChecksums = int(ChecksumUnknown) + 1
)

var checksumNames = [NumChecksums]string{"good", "partial", "bad", "unknown"}

// String returns a short name fit for a metric label.
func (c Checksum) String() string {
	if int(c) < NumChecksums {
		return checksumNames[c]
	}
	return "Checksum(" + strconv.Itoa(int(c)) + ")"
}

// judge counts a verdict and returns what becomes of the packet.
func (d *Decoder) judge(c Checksum) Outcome {
	d.stats.Checksums[c]++
	if c == ChecksumBad && d.cfg.Checksums == ChecksumDrop {
		return OutcomeBadChecksum
	}
	return OutcomeTCP
}

// validIPv4Header reports whether the checksum of an IPv4 header is right, or 0
// and left to the card.
func validIPv4Header(h []byte) bool {
	return h[10]|h[11] == 0 || fold(sum(h)) == 0xffff
}

// tcpChecksum verifies the TCP checksum of the packet whose header is at off
// (RFC 9293 §3.1, RFC 8200 §8.1).
func (w *walk) tcpChecksum(off int) Checksum {
	if w.end > len(w.data) || w.underway {
		return ChecksumUnknown
	}
	segment := w.data[off:]
	// An IPv4-mapped address adds 0xffff to the sum, which is 0 there.
	pseudo := w.src.sum() + w.dst.sum() + protoTCP
	whole := pseudo + uint64(len(segment))
	if fold(whole+sum(segment)) == 0xffff {
		return ChecksumGood
	}
	// Linux leaves the length out where the card cuts the segment.
	if field := binary.BigEndian.Uint16(segment[16:]); field == fold(whole) || field == fold(pseudo) {
		return ChecksumPartial
	}
	return ChecksumBad
}

func (a address) sum() uint64 { return a.hi>>32 + a.hi&0xffffffff + a.lo>>32 + a.lo&0xffffffff }

// sum adds b as big-endian 32-bit numbers, the last one filled up with zeros.
func sum(b []byte) uint64 {
	var s uint64
	for len(b) >= 4 {
		s += uint64(binary.BigEndian.Uint32(b))
		b = b[4:]
	}
	if len(b) > 0 {
		var last [4]byte
		copy(last[:], b)
		s += uint64(binary.BigEndian.Uint32(last[:]))
	}
	return s
}

// fold makes the 16-bit one's complement sum of s.
func fold(s uint64) uint16 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}
