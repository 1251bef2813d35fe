package pcapfilter

import "fmt"

// operator is what a value is made by.
type operator uint8

const (
	opConstant operator = iota
	opLength            // the frame's length on the wire
	opLoad              // size bytes at offset a+k, or k if a is nil
	opHeader            // length of the IPv4 header at offset k: 4 times the low four bits of its first byte
	opAdd
	opSubtract
	opMultiply
	opDivide
	opModulo
	opAnd
	opOr
	opXor
	opLeft
	opRight
	opNegate
)

// value is a number of 32 bits that a program computes of a frame. Equal
// values of one generator are the same pointer.
type value struct {
	valueKey
	id int // counts up from 1
}

type valueKey struct {
	op   operator
	k    uint32
	size uint8 // of a load
	a, b *value
}

// values makes values.
type values struct{ known map[valueKey]*value }

func (s *values) get(key valueKey) *value {
	if v := s.known[key]; v != nil {
		return v
	}
	v := &value{valueKey: key, id: len(s.known) + 1}
	s.known[key] = v
	return v
}

func (s *values) constant(k uint32) *value { return s.get(valueKey{op: opConstant, k: k}) }
func (s *values) length() *value           { return s.get(valueKey{op: opLength}) }

// load is the size bytes at offset in network byte order.
func (s *values) load(offset uint32, size uint8) *value {
	return s.get(valueKey{op: opLoad, k: offset, size: size})
}

// loadAt is load at offset base+offset.
func (s *values) loadAt(base *value, offset uint32, size uint8) *value {
	return s.get(valueKey{op: opLoad, a: base, k: offset, size: size})
}

// headerLength is the length of the IPv4 header at offset, in bytes.
func (s *values) headerLength(offset uint32) *value {
	return s.get(valueKey{op: opHeader, k: offset})
}

// masked is v & mask.
func (s *values) masked(v *value, mask uint32) *value {
	return s.binary(opAnd, v, s.constant(mask))
}

// binary is a op b, computed here if both are constants. A constant operand is
// on the right where the operator commutes. Division by a constant zero and
// shifts by a constant of 32 or more are for the caller to refuse.
func (s *values) binary(op operator, a, b *value) *value {
	if a.op == opConstant && b.op == opConstant {
		return s.constant(compute(op, a.k, b.k))
	}
	if a.op == opConstant {
		switch op {
		case opAdd, opMultiply, opAnd, opOr, opXor:
			a, b = b, a
		}
	}
	if op == opAnd && b.op == opConstant && b.k >= a.limit() && b.k&(b.k+1) == 0 {
		return a // the mask keeps all
	}
	return s.get(valueKey{op: op, a: a, b: b})
}

// limit returns the most that v can be, as far as its form tells.
func (v *value) limit() uint32 {
	switch {
	case v.op == opConstant:
		return v.k
	case v.op == opLoad && v.size < 4:
		return 1<<(8*v.size) - 1
	case v.op == opHeader:
		return 60
	case v.op == opAnd && v.b.op == opConstant:
		return v.b.k
	}
	return 1<<32 - 1
}

func (s *values) negate(a *value) *value {
	if a.op == opConstant {
		return s.constant(-a.k)
	}
	return s.get(valueKey{op: opNegate, a: a})
}

// compute does what the instruction for op does.
func compute(op operator, a, b uint32) uint32 {
	switch op {
	case opAdd:
		return a + b
	case opSubtract:
		return a - b
	case opMultiply:
		return a * b
	case opDivide:
		return a / b
	case opModulo:
		return a % b
	case opAnd:
		return a & b
	case opOr:
		return a | b
	case opXor:
		return a ^ b
	case opLeft:
		return a << b
	case opRight:
		return a >> b
	}
	panic(fmt.Sprintf("pcapfilter: operator %d has no two operands", op))
}
