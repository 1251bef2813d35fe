package pcapfilter

// comparison is how a test compares.
type comparison uint8

const (
	equal comparison = iota
	greater
	greaterEqual
	anyBit // the two have a bit in common
)

// test compares a value with a constant, or with another value.
type test struct {
	compare comparison
	value   *value
	k       uint32
	with    *value // nil: k
}

// condition is what a frame must satisfy: tests joined by and, or and not.
// Operands are tested in order, and only as far as they decide.
type condition struct {
	op          junction
	left, right *condition // right only of and, or
	test        test       // of a junctionTest
}

type junction uint8

const (
	junctionTest junction = iota
	junctionAnd
	junctionOr
	junctionNot
	junctionTrue
	junctionFalse
)

var (
	always = &condition{op: junctionTrue}
	never  = &condition{op: junctionFalse}
)

// and returns the conjunction of all cs.
func and(cs ...*condition) *condition {
	joined := always
	for _, c := range cs {
		switch {
		case joined.op == junctionFalse || c.op == junctionTrue:
		case joined.op == junctionTrue || c.op == junctionFalse:
			joined = c
		default:
			joined = &condition{op: junctionAnd, left: joined, right: c}
		}
	}
	return joined
}

// or returns the disjunction of all cs.
func or(cs ...*condition) *condition {
	joined := never
	for _, c := range cs {
		switch {
		case joined.op == junctionTrue || c.op == junctionFalse:
		case joined.op == junctionFalse || c.op == junctionTrue:
			joined = c
		default:
			joined = &condition{op: junctionOr, left: joined, right: c}
		}
	}
	return joined
}

func not(c *condition) *condition {
	switch c.op {
	case junctionTrue:
		return never
	case junctionFalse:
		return always
	case junctionNot:
		return c.left
	}
	return &condition{op: junctionNot, left: c}
}

// check returns the condition that v compares so with k.
func check(v *value, compare comparison, k uint32) *condition {
	if v.op == opConstant {
		return verdict(holds(compare, v.k, k))
	}
	if compare == equal && v.op == opAnd && v.b.op == opConstant {
		if k&^v.b.k != 0 {
			return never
		}
		// A test of bits leaves the value itself in the accumulator.
		if k == 0 {
			return not(check(v.a, anyBit, v.b.k))
		}
		if k == v.b.k && k&(k-1) == 0 {
			return check(v.a, anyBit, k)
		}
	}
	return &condition{test: test{compare: compare, value: v, k: k}}
}

func verdict(b bool) *condition {
	if b {
		return always
	}
	return never
}

// is returns the condition that v is k.
func is(v *value, k uint32) *condition { return check(v, equal, k) }

// compareValues returns the condition that a compares so with b.
func compareValues(a *value, compare comparison, b *value) *condition {
	if b.op == opConstant {
		return check(a, compare, b.k)
	}
	return &condition{test: test{compare: compare, value: a, with: b}}
}

// holds reports whether v compares so with k.
func holds(compare comparison, v, k uint32) bool {
	switch compare {
	case equal:
		return v == k
	case greater:
		return v > k
	case greaterEqual:
		return v >= k
	default:
		return v&k != 0
	}
}
