package rpcap

import (
	"encoding/binary"
	"fmt"
)

// DecodeError tells which field of which message could not be read.
type DecodeError struct {
	Message Type
	Field   string
	Offset  int    // of the field in the body
	Have    int    // bytes left at Offset, or the value found
	Want    int    // bytes or value needed
	Reason  string // what is wrong when it isn't that the body is too short
}

// Error names message, field, offset, what was there and what was needed.
func (e *DecodeError) Error() string {
	if e.Reason != "" {
		return fmt.Sprintf("%v: %s at offset %d: %s (have %d, want %d)", e.Message, e.Field, e.Offset, e.Reason, e.Have, e.Want)
	}
	return fmt.Sprintf("%v: %s at offset %d: body too short: have %d bytes, want %d", e.Message, e.Field, e.Offset, e.Have, e.Want)
}

// Short reports whether the body was simply too short, which the protocol
// answers with a text of its own.
func (e *DecodeError) Short() bool { return e.Reason == "" }

// cursor reads fields off a body; the first failure is kept and every later
// read returns zero, so that a decoder checks once, at its end.
type cursor struct {
	message Type
	body    []byte
	off     int
	err     *DecodeError
}

// bytes returns the next n bytes, aliasing the body.
func (c *cursor) bytes(field string, n int) []byte {
	if c.err != nil {
		return nil
	}
	if have := len(c.body) - c.off; n < 0 || n > have {
		c.err = &DecodeError{Message: c.message, Field: field, Offset: c.off, Have: have, Want: n}
		return nil
	}
	b := c.body[c.off : c.off+n : c.off+n]
	c.off += n
	return b
}

func (c *cursor) u8(field string) uint8 {
	if b := c.bytes(field, 1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) u16(field string) uint16 {
	if b := c.bytes(field, 2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (c *cursor) u32(field string) uint32 {
	if b := c.bytes(field, 4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (c *cursor) string(field string, n int) string { return string(c.bytes(field, n)) }

// reject records that the field of n bytes read last holds a bad value.
func (c *cursor) reject(field string, n, have, want int, reason string) {
	if c.err == nil {
		c.err = &DecodeError{Message: c.message, Field: field, Offset: c.off - n, Have: have, Want: want, Reason: reason}
	}
}

func (c *cursor) left() int { return len(c.body) - c.off }

// done returns the first failure as an error, nil if there was none.
func (c *cursor) done() error {
	if c.err != nil {
		return c.err
	}
	return nil
}
