package hpack

import "strings"

// Fault is what HTTP/2 forbids about a field. It is found when the text comes in, and stays
// with an entry of the table: each message that refers to the entry has it.
type Fault uint8

// What is forbidden.
const (
	FaultNone Fault = iota
	// FaultConnection is a field that says something of a connection of HTTP/1
	// (RFC 9113 §8.2.2).
	FaultConnection
	// FaultText is a name or a value with characters that it may not have
	// (RFC 9113 §8.2.1, of pseudo-header fields §8.3.1).
	FaultText
)

// judge sets the fault of a field of which both texts are there.
func (f *Field) judge() {
	switch {
	case f.Static > 0 && f.Static <= StaticStatus:
		if !validPart(f.Value) {
			f.Fault = FaultText
		}
	case f.Static == 0 && !validName(f.Name) || !validValue(f.Value) && !f.Binary():
		f.Fault = FaultText
	default:
		f.Fault = connectionFault(f)
	}
}

func connectionFault(f *Field) Fault {
	switch f.Name {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		return FaultConnection
	case "te":
		if f.Value != "trailers" {
			return FaultConnection
		}
	}
	return FaultNone
}

// Binary reports whether the value is a zero byte and metadata of gRPC behind it, sent as it is
// instead of in base64. HTTP/2 forbids that, and gRPC's C core does so with itself.
func (f *Field) Binary() bool {
	return f.Value != "" && f.Value[0] == 0 && strings.HasSuffix(f.Name, "-bin")
}

func validName(name string) bool {
	for i := range len(name) {
		if !nameChar[name[i]] {
			return false
		}
	}
	return name != ""
}

// validPart reports whether a pseudo-header field, which is a part of a request's or a
// response's first line in HTTP/1, would be just one there.
func validPart(value string) bool {
	for i := range len(value) {
		if c := value[i]; c <= ' ' || c == 0x7f {
			return false
		}
	}
	return true
}

func validValue(value string) bool {
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// nameChar are the characters of names: tchar (RFC 9110 §5.6.2) without
// capital letters; read only.
var nameChar = func() (t [256]bool) {
	for _, c := range []byte("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz") {
		t[c] = true
	}
	return t
}()
