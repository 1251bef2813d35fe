package pcapfilter

import "slices"

// binaryPrecedence is how strong the operators of arithmetic bind.
//
// Deviation: % and ^ have the precedence that they have in C. libpcap gives
// them none, so that it takes "a % b + c" for "a % (b + c)".
var binaryPrecedence = map[string]int{
	"|": 1, "^": 2, "&": 3, "<<": 4, ">>": 4, "+": 5, "-": 5, "*": 6, "/": 6, "%": 6,
}

// relationOperator reports whether t compares.
func relationOperator(t *token) bool {
	return t.kind == tokenSymbol && slices.Contains([]string{">", ">=", "=", "<", "<=", "!="}, t.text)
}

// relation parses NUMBER OPERATOR NUMBER.
func (p *parser) relation() (node, error) {
	left, err := p.number(0)
	if err != nil {
		return nil, err
	}
	operator := p.take()
	if !relationOperator(operator) {
		return nil, errorAt(operator.offset, "%s where a comparison was expected", operator).hint("one of = != < <= > >=")
	}
	right, err := p.number(0)
	if err != nil {
		return nil, err
	}
	return &relation{operator: operator.text, left: left, right: right}, nil
}

// number parses arithmetic of operators that bind stronger than precedence.
func (p *parser) number(precedence int) (arithmetic, error) {
	left, err := p.operand()
	if err != nil {
		return nil, err
	}
	for {
		t := p.peek()
		binds := binaryPrecedence[t.text]
		if t.kind != tokenSymbol || binds <= precedence {
			return left, nil
		}
		p.next++
		right, err := p.number(binds)
		if err != nil {
			return nil, err
		}
		left = &operation{operator: t.text, offset: t.offset, left: left, right: right}
	}
}

// operand parses a number without operators, or in parentheses.
func (p *parser) operand() (arithmetic, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	t := p.take()
	switch {
	case t.kind == tokenNumber:
		return constant(t.number), nil
	case t.is("len"), t.is("length"):
		return length{}, nil
	case t.is("-"):
		of, err := p.operand()
		return &minus{of: of}, err
	case t.is("("):
		n, err := p.number(0)
		if err != nil {
			return nil, err
		}
		return n, p.expect(")")
	case t.kind == tokenWord && protocols[t.text] != nil:
		return p.accessor(protocols[t.text], t)
	}
	e := errorAt(t.offset, "%s where a number was expected", t)
	if t.kind == tokenWord {
		return nil, e.hint("a minus needs spaces around it")
	}
	return nil, e
}

// accessor parses [INDEX] or [INDEX:SIZE].
func (p *parser) accessor(protocol *protocol, t *token) (arithmetic, error) {
	if err := p.expect("["); err != nil {
		return nil, err
	}
	if !protocol.index {
		return nil, errorAt(t.offset, "%s[...] is not supported", protocol.name).hint("ether[...], ip[...], ip6[...], tcp[...] and others are")
	}
	index, err := p.number(0)
	if err != nil {
		return nil, err
	}
	n := &accessor{protocol: protocol, offset: t.offset, index: index, size: 1}
	if p.accept(":") {
		size := p.take()
		if size.kind != tokenNumber || size.number != 1 && size.number != 2 && size.number != 4 {
			return nil, errorAt(size.offset, "%s is no size", size).hint("1, 2 or 4 bytes")
		}
		n.size = size.number
	}
	return n, p.expect("]")
}
