package hpack

import (
	"encoding/binary"
	"slices"
)

// The code of RFC 7541 appendix B is canonical: codes of one length are
// consecutive numbers in the order of their symbols, and shorter codes come
// before longer ones. So the lengths are all there is to know.

const (
	minCodeLen = 5
	maxCodeLen = 30
	// endOfString is the symbol whose code pads a string to whole bytes.
	endOfString = 256
	// directLen is the length up to which codes are looked up directly.
	directLen = 9
)

// codeLens are the lengths of the symbols' codes in bits.
var codeLens = [endOfString + 1]uint8{
	13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
	28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
	6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
	5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
	13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
	7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
	15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
	6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
	20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
	24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
	22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
	21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
	26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
	19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
	20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
	26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
	30,
}

// huffman is the code turned into what decoding needs; read only.
var huffman = newHuffmanTable()

type huffmanTable struct {
	// direct maps the next directLen bits to symbol<<4 | length, 0 where the
	// code is longer.
	direct [1 << directLen]uint16
	// By length: limit is one more than the last code of that length, with
	// zeros behind it up to maxCodeLen bits; first is the number of the first
	// code less the index of its symbol in order.
	limit [maxCodeLen + 1]uint32
	first [maxCodeLen + 1]int32
	order [endOfString + 1]uint16 // symbols in the order of their codes
}

func newHuffmanTable() *huffmanTable {
	t := new(huffmanTable)
	code, n := uint32(0), 0
	for length := 1; length <= maxCodeLen; length++ {
		code <<= 1
		t.first[length] = int32(code) - int32(n)
		for symbol, l := range codeLens {
			if int(l) != length {
				continue
			}
			t.order[n] = uint16(symbol)
			n++
			if length <= directLen {
				from := code << (directLen - length)
				for i := range uint32(1) << (directLen - length) {
					t.direct[from+i] = uint16(symbol)<<4 | uint16(length)
				}
			}
			code++
		}
		t.limit[length] = code << (maxCodeLen - length)
	}
	return t
}

// appendHuffman appends the text of the Huffman-coded b to dst. ok is false if
// b holds the code of the end of string, or is not padded by at most 7 bits of
// it (RFC 7541 §5.2).
func appendHuffman(dst, b []byte) (_ []byte, ok bool) {
	dst = slices.Grow(dst, len(b)*8/minCodeLen)
	t := huffman
	var bits uint64 // the next ones, at the top; behind them anything that is to come may stand
	have := 0
	for {
		if len(b) >= 8 {
			bits |= binary.BigEndian.Uint64(b) >> have
			n := (63 - have) / 8
			b = b[n:]
			have += 8 * n
		} else {
			for have <= 56 && len(b) > 0 {
				bits |= uint64(b[0]) << (56 - have)
				b = b[1:]
				have += 8
			}
		}
		// Whole codes are there, as long as there is the longest.
		for more := true; more; more = have >= maxCodeLen {
			entry := t.direct[bits>>(64-directLen)]
			length, symbol := int(entry&0xf), entry>>4
			if length == 0 {
				length, symbol = t.long(uint32(bits >> (64 - maxCodeLen)))
			}
			if length > have { // padding, or a code cut short
				padding := uint64(1)<<have - 1
				return dst, have < 8 && bits>>(64-have) == padding
			}
			if symbol == endOfString {
				return dst, false
			}
			dst = append(dst, byte(symbol))
			bits <<= length
			have -= length
		}
	}
}

// long finds the code of more than directLen bits that code, maxCodeLen bits,
// starts with. The longest code ends the space of codes, so there always is one.
func (t *huffmanTable) long(code uint32) (length int, symbol uint16) {
	length = directLen + 1
	for code >= t.limit[length] && length < maxCodeLen {
		length++
	}
	return length, t.order[int32(code>>(maxCodeLen-length))-t.first[length]]
}
