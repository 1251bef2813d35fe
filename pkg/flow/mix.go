package flow

import "math/bits"

// Odd constants with balanced bits, from wyhash (public domain).
const (
	mul0 = 0xa0761d6478bd642f
	mul1 = 0xe7037ed1a0b428db
	mul2 = 0x8ebc6af09c88c6e3
)

// mix folds the 128-bit product of a and b.
func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}
