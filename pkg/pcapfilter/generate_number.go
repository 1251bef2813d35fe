package pcapfilter

func (n *relation) generate(g *generator) (*condition, error) {
	left, needsLeft, err := n.left.value(g)
	if err != nil {
		return nil, err
	}
	right, needsRight, err := n.right.value(g)
	if err != nil {
		return nil, err
	}
	compared := g.compare(n.operator, left, right)
	return and(needsLeft, needsRight, compared), nil
}

// compare returns the condition that left and right compare by operator.
func (g *generator) compare(operator string, left, right *value) *condition {
	if left.op == opConstant && right.op != opConstant {
		left, right = right, left
		if turned, ok := map[string]string{">": "<", ">=": "<=", "<": ">", "<=": ">="}[operator]; ok {
			operator = turned
		}
	}
	switch operator {
	case ">":
		return compareValues(left, greater, right)
	case ">=":
		return compareValues(left, greaterEqual, right)
	case "<":
		return not(compareValues(left, greaterEqual, right))
	case "<=":
		return not(compareValues(left, greater, right))
	case "!=":
		return not(compareValues(left, equal, right))
	}
	return compareValues(left, equal, right)
}

func (n constant) value(g *generator) (*value, *condition, error) {
	return g.values.constant(uint32(n)), always, nil
}

func (length) value(g *generator) (*value, *condition, error) {
	return g.values.length(), always, nil
}

// operators are the operators of arithmetic.
var operators = map[string]operator{
	"+": opAdd, "-": opSubtract, "*": opMultiply, "/": opDivide, "%": opModulo, "&": opAnd, "|": opOr, "^": opXor,
	"<<": opLeft, ">>": opRight,
}

func (n *operation) value(g *generator) (*value, *condition, error) {
	left, needsLeft, err := n.left.value(g)
	if err != nil {
		return nil, nil, err
	}
	right, needsRight, err := n.right.value(g)
	if err != nil {
		return nil, nil, err
	}
	op := operators[n.operator]
	if right.op == opConstant {
		switch {
		case (op == opDivide || op == opModulo) && right.k == 0:
			return nil, nil, errorAt(n.offset, "division by zero")
		case (op == opLeft || op == opRight) && right.k > 31:
			return nil, nil, errorAt(n.offset, "shift by %d bits", right.k).hint("0 to 31")
		}
	}
	return g.binary(op, left, right), and(needsLeft, needsRight), nil
}

func (n *minus) value(g *generator) (*value, *condition, error) {
	v, needs, err := n.of.value(g)
	if err != nil {
		return nil, nil, err
	}
	return g.negate(v), needs, nil
}

// value loads from the header of the accessor's protocol. The condition is
// that a frame has that header.
func (n *accessor) value(g *generator) (*value, *condition, error) {
	index, needs, err := n.index.value(g)
	if err != nil {
		return nil, nil, err
	}
	base, offset, has, err := n.header(g)
	if err != nil {
		return nil, nil, err
	}
	v, err := n.load(g, base, offset, index)
	return v, and(needs, has), err
}

// header returns where the header of the accessor's protocol begins, at base
// (nil: 0) + offset, in frames of which has holds. Transport headers are
// looked for behind IPv4 only, and icmp6 directly behind IPv6's header
// (pcap-filter(7)).
func (n *accessor) header(g *generator) (base *value, offset uint32, has *condition, err error) {
	switch {
	case n.protocol == protoLink:
		return nil, g.link, always, nil
	case n.protocol.layer == layerNetwork:
		has, err = g.linkProtocol(n.protocol.number, n.offset)
		return nil, g.payload, has, err
	case n.protocol == protoICMP6:
		if has, err = g.linkProtocol(etherIPv6, n.offset); err != nil {
			return nil, 0, nil, err
		}
		has = and(has, is(g.load(g.payload+ipv6NextHeader, 1), protoICMP6.number))
		return nil, g.payload + ipv6HeaderLen, has, nil
	}
	if has, err = g.linkProtocol(etherIPv4, n.offset); err != nil {
		return nil, 0, nil, err
	}
	has = and(has, is(g.load(g.payload+ipv4Protocol, 1), n.protocol.number), g.firstFragment())
	return g.headerLength(g.payload), g.payload, has, nil
}

// maxOffset bounds constant offsets in an accessor: no frame is longer, and
// beyond it Linux has loads of another meaning (SKF_AD_OFF of linux/filter.h).
const maxOffset = 1 << 24

// load returns the value at base + offset + index.
func (n *accessor) load(g *generator, base *value, offset uint32, index *value) (*value, error) {
	if index.op == opConstant {
		if index.k > maxOffset {
			return nil, errorAt(n.offset, "offset %d is beyond any frame", int32(index.k)).hint("offsets count from the header's first byte")
		}
		offset, index = offset+index.k, base
	} else if base != nil {
		index = g.binary(opAdd, base, index)
	}
	if index == nil {
		return g.values.load(offset, uint8(n.size)), nil
	}
	return g.loadAt(index, offset, uint8(n.size)), nil
}
