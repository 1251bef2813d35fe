package traffic

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/net/http2/hpack"
)

const http2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// Frame types, flags and settings of RFC 9113, sections 6 and 6.5.2.
const (
	frameData         = 0x0
	frameHeaders      = 0x1
	frameSettings     = 0x4
	frameGoAway       = 0x7
	frameWindowUpdate = 0x8

	flagEndStream  = 0x1
	flagAck        = 0x1
	flagEndHeaders = 0x4

	settingEnablePush           = 0x2
	settingMaxConcurrentStreams = 0x3
	settingInitialWindowSize    = 0x4
)

// maxDataLen is the payload of a frame at most (RFC 9113, section 4.2).
const maxDataLen = 16384

// http2End is what one end of an HTTP/2 connection writes. The frames are
// written by hand since x/net/http2 would bring far more than them into the
// module.
type http2End struct {
	out   []byte
	block bytes.Buffer
	hpack *hpack.Encoder
}

func newHTTP2End() *http2End {
	e := new(http2End)
	e.hpack = hpack.NewEncoder(&e.block)
	return e
}

// frame writes the header of a frame of n bytes (RFC 9113, section 4.1).
func (e *http2End) frame(n int, kind, flags uint8, stream uint32) {
	e.out = append(e.out, byte(n>>16), byte(n>>8), byte(n), kind, flags)
	e.out = binary.BigEndian.AppendUint32(e.out, stream)
}

// settings writes pairs of identifier and value.
func (e *http2End) settings(pairs ...[2]uint32) {
	e.frame(6*len(pairs), frameSettings, 0, 0)
	for _, p := range pairs {
		e.out = binary.BigEndian.AppendUint16(e.out, uint16(p[0]))
		e.out = binary.BigEndian.AppendUint32(e.out, p[1])
	}
}

func (e *http2End) settingsAck() { e.frame(0, frameSettings, flagAck, 0) }

func (e *http2End) windowUpdate(stream, increment uint32) {
	e.frame(4, frameWindowUpdate, 0, stream)
	e.out = binary.BigEndian.AppendUint32(e.out, increment)
}

// goAway says that the connection ends with no error.
func (e *http2End) goAway(lastStream uint32) {
	e.frame(8, frameGoAway, 0, 0)
	e.out = binary.BigEndian.AppendUint32(e.out, lastStream)
	e.out = binary.BigEndian.AppendUint32(e.out, 0)
}

// headers writes a HEADERS frame; names and values take turns in fields.
func (e *http2End) headers(stream uint32, end bool, fields ...string) {
	e.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		// Writing to a bytes.Buffer can't fail.
		_ = e.hpack.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	flags := uint8(flagEndHeaders)
	if end {
		flags |= flagEndStream
	}
	e.frame(e.block.Len(), frameHeaders, flags, stream)
	e.out = append(e.out, e.block.Bytes()...)
}

// data writes one DATA frame; b has at most maxDataLen bytes.
func (e *http2End) data(stream uint32, end bool, b []byte) {
	flags := uint8(0)
	if end {
		flags = flagEndStream
	}
	e.frame(len(b), frameData, flags, stream)
	e.out = append(e.out, b...)
}
