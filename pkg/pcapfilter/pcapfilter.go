package pcapfilter

import (
	"golang.org/x/net/bpf"

	"capstan/pkg/capture"
)

// maxVertices bounds the tests of a program before optimisation, and so its
// work. An expression with more is hardly ever short afterwards.
const maxVertices = 4 * MaxInstructions

func errTooLong() *Error {
	return &Error{Offset: -1, Reason: "it compiles to too long a program", Hint: "fewer tests, or networks in place of hosts"}
}

// Expression is a parsed filter expression. It is immutable.
type Expression struct {
	root node // nil: every frame matches
}

// Parse parses an expression; the empty one matches every frame. The error is
// an [*Error]. What depends on a link type is found wrong by Compile only.
func Parse(expression string) (*Expression, error) {
	if len(expression) > MaxLength {
		return nil, &Error{Offset: -1, Reason: "it is longer than 65,536 bytes"}
	}
	tokens, err := tokenize(expression)
	if err != nil {
		return nil, err
	}
	if tokens[0].kind == tokenEnd {
		return &Expression{}, nil
	}
	p := parser{tokens: tokens}
	root, err := p.parse()
	if err != nil {
		return nil, err
	}
	return &Expression{root: root}, nil
}

// String returns an expression with the same meaning, in which every value has
// its qualifiers.
func (e *Expression) String() string {
	if e.root == nil {
		return ""
	}
	return e.root.String()
}

// Compile returns the program of the expression for frames of a link type, as
// the client of a capture sees them ([capture.Frame]). It returns snapLen for a
// frame that matches and 0 for one that doesn't. It is a valid program of at
// most [MaxInstructions], and the caller's. The error is an [*Error].
func (e *Expression) Compile(linkType capture.LinkType, snapLen int) ([]bpf.RawInstruction, error) {
	if snapLen <= 0 || int64(snapLen) > 1<<32-1 {
		return nil, &Error{Offset: -1, Reason: "the snap length is not positive, so nothing could match"}
	}
	matches := always
	if e.root != nil {
		var err error
		if matches, err = e.root.generate(newGenerator(linkType.Canonical())); err != nil {
			return nil, err
		}
	}
	g := newGraph()
	root := g.build(matches, g.accept, g.refuse)
	if len(g.known) > maxVertices {
		return nil, errTooLong()
	}
	return emit(optimise(root), uint32(snapLen))
}

// Compile is [Parse] and [Expression.Compile] in one. The error is an [*Error].
func Compile(linkType capture.LinkType, snapLen int, expression string) ([]bpf.RawInstruction, error) {
	e, err := Parse(expression)
	if err != nil {
		return nil, err
	}
	return e.Compile(linkType, snapLen)
}
