package pcapfilter

import "slices"

// kinds are the keywords for what a value is.
var kinds = map[string]valueKind{
	"host": kindHost, "net": kindNet, "port": kindPort, "portrange": kindRange, "proto": kindProto,
}

// otherKeywords begin primitives that have no qualifiers.
var otherKeywords = []string{
	"src", "dst", "mask", "less", "greater", "byte", "broadcast", "multicast", "inbound", "outbound", "ifindex",
	"vlan", "mpls", "pppoed", "pppoes", "llc", "len", "length",
}

// reserved reports whether word is a keyword, so no name.
func reserved(word string) bool {
	_, isKind := kinds[word]
	_, isUnsupported := unsupported[word]
	return isKind || isUnsupported || isisTypes[word] != nil || protocols[word] != nil || slices.Contains(otherKeywords, word)
}

// primitive parses a test that begins with a keyword. It returns the
// qualifiers that a value behind it takes over.
func (p *parser) primitive() (node, qualifiers, error) {
	t := p.peek()
	if t.kind != tokenWord {
		return nil, qualifiers{}, errorAt(t.offset, "%s where a test was expected", t).
			hint("such as host 192.0.2.1, tcp port 80, or ip6")
	}
	if why, ok := unsupported[t.text]; ok {
		return nil, qualifiers{}, errorAt(t.offset, "%s is not supported: %s", t, why)
	}
	if n, err := p.plainPrimitive(); n != nil || err != nil {
		return n, qualifiers{}, err
	}
	return p.qualified()
}

// plainPrimitive parses a primitive that takes no qualifiers and has none to
// carry over. It returns nil if there is none.
func (p *parser) plainPrimitive() (node, error) {
	t := p.peek()
	switch t.text {
	case "less", "greater":
		p.next++
		n, err := p.numeral(t.text)
		return &relation{operator: map[string]string{"less": "<=", "greater": ">="}[t.text], left: length{}, right: constant(n)}, err
	case "byte":
		p.next++
		return p.byteTest()
	case "inbound", "outbound":
		p.next++
		return &travel{outbound: t.text == "outbound", offset: t.offset}, nil
	case "ifindex":
		p.next++
		n, err := p.numeral(t.text)
		return &interfaceIndex{index: n, offset: t.offset}, err
	case "vlan", "mpls", "pppoes":
		p.next++
		return p.tunnelID(&tunnel{name: t.text, offset: t.offset})
	case "pppoed":
		p.next++
		return &tunnel{name: t.text, offset: t.offset, any: true}, nil
	case "llc":
		p.next++
		return p.llcType(&llc{offset: t.offset}), nil
	}
	if isisTypes[t.text] != nil {
		p.next++
		return &isisPacket{name: t.text, offset: t.offset}, nil
	}
	return nil, nil
}

// numeral parses a number, perhaps in parentheses, which the keyword before it
// needs.
func (p *parser) numeral(keyword string) (uint32, error) {
	parentheses := 0
	for p.accept("(") {
		parentheses++
	}
	t := p.take()
	if t.kind != tokenNumber {
		return 0, errorAt(t.offset, "%s where a number was expected behind %q", t, keyword)
	}
	for range parentheses {
		if err := p.expect(")"); err != nil {
			return 0, err
		}
	}
	return t.number, nil
}

// tunnelID parses the optional number behind a tunnel's keyword.
func (p *parser) tunnelID(n *tunnel) (node, error) {
	next := p.next
	for p.tokens[next].is("(") {
		next++
	}
	if n.any = p.tokens[next].kind != tokenNumber; n.any {
		return n, nil
	}
	id, err := p.numeral(n.name)
	n.id = id
	return n, err
}

// llcType parses the optional type behind llc.
func (p *parser) llcType(n *llc) node {
	t := p.peek()
	if _, ok := llcTypes[t.text]; ok && (t.kind == tokenWord || t.kind == tokenName) {
		p.next++
		n.kind = t.text
	}
	return n
}

// byteTest parses what follows "byte": N OPERATOR N, an old form of a relation
// about a byte of the link header.
func (p *parser) byteTest() (node, error) {
	index := p.take()
	operator := p.take()
	operand := p.take()
	if index.kind != tokenNumber || operand.kind != tokenNumber {
		return nil, errorAt(index.offset, "byte wants an offset, an operator and a value").hint("such as byte 12 = 8")
	}
	if operand.number > 0xff {
		return nil, errorAt(operand.offset, "%s is more than a byte", operand)
	}
	load := &accessor{protocol: protoLink, offset: index.offset, index: constant(index.number), size: 1}
	value := constant(operand.number)
	switch {
	case operator.is("="), operator.is("<"), operator.is(">"):
		return &relation{operator: operator.text, left: load, right: value}, nil
	case operator.is("&"), operator.is("|"):
		return &relation{operator: "!=", left: &operation{operator: operator.text, offset: operator.offset, left: load, right: value}, right: constant(0)}, nil
	}
	return nil, errorAt(operator.offset, "%s is no operator of byte", operator).hint("those are = < > & |")
}

// qualified parses qualifiers and what they stand before, or a protocol's
// name alone.
func (p *parser) qualified() (node, qualifiers, error) {
	start := p.peek()
	var q qualifiers
	if protocol := protocols[start.text]; protocol != nil {
		q.protocol = protocol
		p.next++
	}
	if t := p.peek(); t.is("broadcast") || t.is("multicast") {
		p.next++
		return &cast{protocol: q.protocol, offset: start.offset, multi: t.text == "multicast"}, qualifiers{}, nil
	}
	hasDirection := p.direction(&q)
	kindToken := p.peek()
	if kind, ok := kinds[kindToken.text]; ok && kindToken.kind == tokenWord {
		p.next++
		q.kind = kind
		if kind == kindProto && hasDirection {
			return nil, q, errorAt(kindToken.offset, "proto has no source or destination")
		}
	} else if why, ok := unsupported[kindToken.text]; ok && kindToken.kind == tokenWord {
		return nil, q, errorAt(kindToken.offset, "%s is not supported: %s", kindToken, why)
	} else if hasDirection {
		q.kind = kindHost
	}
	if q.kind != kindNone {
		n, err := p.value(q)
		return n, q, err
	}
	if q.protocol == nil {
		return nil, q, errorAt(start.offset, "%s can't begin a test", start)
	}
	if t := p.peek(); p.startsValue() {
		return nil, q, errorAt(t.offset, "%s behind %q needs to be told what it is", t, q.protocol.name).hint("host, net, port, portrange or proto")
	}
	return &keyword{protocol: q.protocol, offset: start.offset}, qualifiers{}, nil
}

// direction parses "src", "dst", or both joined, and reports whether there was
// any.
func (p *parser) direction(q *qualifiers) bool {
	first := p.peek()
	if !first.is("src") && !first.is("dst") {
		return false
	}
	p.next++
	q.direction = directionSource
	if first.text == "dst" {
		q.direction = directionDestination
	}
	joint, other := p.peek(), p.after()
	if (other.is("src") || other.is("dst")) && other.text != first.text {
		switch {
		case joint.is("or"):
			q.direction = directionEither
			p.next += 2
		case joint.is("and"):
			q.direction = directionBoth
			p.next += 2
		}
	}
	return true
}
