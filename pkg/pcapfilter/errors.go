package pcapfilter

import "fmt"

// Error says what is wrong with an expression, and where.
type Error struct {
	// Offset is the position in the expression, in bytes from 0, of the word
	// that is wrong. It is -1 if it's the expression as a whole.
	Offset int
	Reason string // what is wrong, in terms of the expression
	Hint   string // what to write instead; may be empty
}

// Error returns reason, position counted from 1, and hint.
func (e *Error) Error() string {
	s := "filter expression: " + e.Reason
	if e.Offset >= 0 {
		s += fmt.Sprintf(" at position %d", e.Offset+1)
	}
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// errorAt returns an Error about what is at offset.
func errorAt(offset int, format string, args ...any) *Error {
	return &Error{Offset: offset, Reason: fmt.Sprintf(format, args...)}
}

func (e *Error) hint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}
