package pcapfilter

import "golang.org/x/net/bpf"

// loader emits the instructions that compute values.
type loader struct {
	registers
	code    []bpf.RawInstruction
	scratch uint32 // words in use
}

func (l *loader) add(op uint16, k uint32) {
	l.code = append(l.code, bpf.RawInstruction{Op: op, K: k})
}

// operands brings the operands of a test to A and X.
func (l *loader) operands(t test) error {
	if t.with == nil {
		return l.toA(t.value)
	}
	return l.pair(t.value, t.with)
}

// toA brings v to A.
func (l *loader) toA(v *value) error {
	if l.a == v {
		return nil
	}
	switch v.op {
	case opConstant:
		l.add(codeLoadConstant, v.k)
	case opLength:
		l.add(codeLoadLength, 0)
	case opLoad:
		if err := l.load(v); err != nil {
			return err
		}
	case opHeader:
		l.headerToX(v)
		l.add(codeToA, 0)
	case opNegate:
		if err := l.toA(v.a); err != nil {
			return err
		}
		l.add(codeNegate, 0)
	default:
		if err := l.compute(v); err != nil {
			return err
		}
	}
	l.a = v
	return nil
}

// load brings the bytes of an opLoad to A.
func (l *loader) load(v *value) error {
	sizes := map[uint8][2]uint16{
		1: {codeLoadByte, codeLoadByteAt}, 2: {codeLoadHalf, codeLoadHalfAt}, 4: {codeLoadWord, codeLoadWordAt},
	}
	if v.a == nil {
		l.add(sizes[v.size][0], v.k)
		return nil
	}
	if err := l.toX(v.a); err != nil {
		return err
	}
	l.add(sizes[v.size][1], v.k)
	return nil
}

// toX brings v to X, by way of A unless it's a header's length.
func (l *loader) toX(v *value) error {
	switch {
	case l.x == v:
	case v.op == opHeader:
		l.headerToX(v)
	default:
		if err := l.toA(v); err != nil {
			return err
		}
		l.add(codeToX, 0)
		l.x = v
	}
	return nil
}

func (l *loader) headerToX(v *value) {
	if l.x != v {
		l.add(codeLoadXHeader, v.k)
		l.x = v
	}
}

// compute does arithmetic in A.
func (l *loader) compute(v *value) error {
	left, right := v.a, v.b
	op := arithmeticCodes[v.op]
	if right.op == opConstant {
		if err := l.toA(left); err != nil {
			return err
		}
		l.add(op, right.k)
		return nil
	}
	if err := l.pair(left, right); err != nil {
		return err
	}
	l.add(op|codeByX, 0)
	return nil
}

// pair brings a to A and x to X.
func (l *loader) pair(a, x *value) error {
	if x.op == opHeader {
		if err := l.toA(a); err != nil {
			return err
		}
		l.headerToX(x)
		return nil
	}
	if l.scratch == scratchWords {
		return &Error{Offset: -1, Reason: "arithmetic needs too many intermediate results", Hint: "fewer parentheses"}
	}
	word := l.scratch
	l.scratch++
	if err := l.toA(x); err != nil {
		return err
	}
	l.add(codeStore, word)
	if err := l.toA(a); err != nil {
		return err
	}
	l.add(codeLoadXScratch, word)
	l.x = x
	l.scratch--
	return nil
}
