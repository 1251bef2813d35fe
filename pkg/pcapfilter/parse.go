package pcapfilter

// The limits of an expression. Both bound the work that an expression from a
// peer can cost.
const (
	// MaxLength is the longest expression that Parse accepts, in bytes.
	MaxLength = 64 << 10
	// maxDepth is how deep parentheses, brackets and negations may nest.
	maxDepth = 100
)

// parser is a recursive-descent parser over the tokens of one expression.
type parser struct {
	tokens []token
	next   int
	depth  int
}

// peek returns the next token without taking it.
func (p *parser) peek() *token { return &p.tokens[p.next] }

// after returns the token behind the next one.
func (p *parser) after() *token { return &p.tokens[min(p.next+1, len(p.tokens)-1)] }

// take returns the next token and moves on; the end stays.
func (p *parser) take() *token {
	t := p.peek()
	if t.kind != tokenEnd {
		p.next++
	}
	return t
}

// accept takes the next token if it is the symbol or keyword text.
func (p *parser) accept(text string) bool {
	if p.peek().is(text) {
		p.next++
		return true
	}
	return false
}

// expect is accept with an error.
func (p *parser) expect(text string) error {
	if p.accept(text) {
		return nil
	}
	t := p.peek()
	return errorAt(t.offset, "%s where %q was expected", t, text)
}

// enter counts a level of nesting; leave must follow.
func (p *parser) enter() error {
	if p.depth++; p.depth > maxDepth {
		return errorAt(p.peek().offset, "more than %d levels of nesting", maxDepth)
	}
	return nil
}

func (p *parser) leave() { p.depth-- }

// parse parses a whole expression.
func (p *parser) parse() (node, error) {
	n, _, err := p.expression(qualifiers{})
	if err != nil {
		return nil, err
	}
	if t := p.peek(); t.kind != tokenEnd {
		return nil, errorAt(t.offset, "unexpected %s", t).hint("join tests by and, or")
	}
	return n, nil
}

// expression parses terms joined by "and" and "or". q are the qualifiers that
// a bare value at its beginning has; those that a value behind it has are
// returned.
func (p *parser) expression(q qualifiers) (node, qualifiers, error) {
	left, q, err := p.term(q)
	if err != nil {
		return nil, q, err
	}
	for {
		or := p.peek().is("or")
		if !or && !p.peek().is("and") {
			return left, q, nil
		}
		p.next++
		var right node
		if right, q, err = p.term(q); err != nil {
			return nil, q, err
		}
		left = &logical{or: or, left: left, right: right}
	}
}

// term parses a primitive, a negated term or an expression in parentheses. A
// bare value takes the qualifiers q.
func (p *parser) term(q qualifiers) (node, qualifiers, error) {
	if err := p.enter(); err != nil {
		return nil, q, err
	}
	defer p.leave()
	switch {
	case p.accept("not"):
		n, after, err := p.term(q)
		if err != nil {
			return nil, q, err
		}
		return &negation{n}, after, nil
	case p.startsRelation():
		n, err := p.relation()
		return n, qualifiers{}, err
	case p.accept("("):
		n, _, err := p.expression(q)
		if err == nil {
			err = p.expect(")")
		}
		return n, q, err // pcap-filter(7): the parentheses keep their qualifiers to themselves
	case p.startsValue():
		n, err := p.value(q)
		return n, q, err
	}
	return p.primitive()
}

// startsRelation reports whether a relation follows, as in "tcp[0] = 1",
// "5 = len" or "(ip[0] & 15) * 4 > 20". A parenthesis may also begin an
// expression, which only what follows the number in it can tell.
func (p *parser) startsRelation() bool {
	t, after := p.peek(), p.after()
	switch {
	case t.is("len"), t.is("length"), t.is("-"):
		return true
	case t.kind == tokenNumber:
		return binaryPrecedence[after.text] > 0 && after.kind == tokenSymbol || relationOperator(after)
	case t.kind == tokenWord && protocols[t.text] != nil:
		return after.is("[")
	case !t.is("("):
		return false
	}
	ahead := parser{tokens: p.tokens, next: p.next, depth: p.depth}
	_, err := ahead.number(0)
	return err == nil && relationOperator(ahead.peek())
}

// startsValue reports whether a value follows that has no qualifiers of its
// own.
func (p *parser) startsValue() bool {
	switch t := p.peek(); t.kind {
	case tokenName, tokenNumber, tokenIPv4, tokenIPv6, tokenEthernet:
		return true
	case tokenWord:
		return !reserved(t.text)
	}
	return false
}
