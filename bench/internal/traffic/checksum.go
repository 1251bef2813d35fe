package traffic

import "encoding/binary"

// sum adds up b as big-endian 16-bit words (RFC 1071), an odd byte at its end
// as the high half of one. Sums of parts of even length may be added.
func sum(b []byte) uint64 {
	var s uint64
	for ; len(b) >= 8; b = b[8:] {
		v := binary.BigEndian.Uint64(b)
		s += v>>32 + v&0xffffffff // 2¹⁶ is 1 modulo 2¹⁶-1
	}
	for ; len(b) >= 2; b = b[2:] {
		s += uint64(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		s += uint64(b[0]) << 8
	}
	return s
}

// fold brings a sum to 16 bits with the carries put back in.
func fold(s uint64) uint16 {
	for s>>16 != 0 {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}

// transportChecksum returns the field for a sum. UDP has no zero, which would
// mean "no checksum" (RFC 768); TCP reads both forms of zero alike.
func transportChecksum(s uint64) uint16 {
	if c := ^fold(s); c != 0 {
		return c
	}
	return 0xffff
}

// mix spreads the bits of x over the result: the finaliser of splitmix64. It is
// a bijection.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
