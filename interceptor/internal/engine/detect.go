package engine

import (
	"capstan/interceptor/internal/l7/http1"
	"capstan/interceptor/internal/l7/http2"
)

// Protocol is what a connection was found to carry.
type Protocol uint8

// The protocols a connection is counted under.
const (
	Undecided Protocol = iota // not enough bytes seen yet, or joined inside a message
	HTTP1
	HTTP2   // gRPC included
	TLS     // encrypted
	Unknown // none of the above
	NumProtocols
)

var protocolNames = [NumProtocols]string{"undecided", "http1", "http2", "tls", "unknown"}

// String returns the protocol's name as metrics and the ledger print it.
func (p Protocol) String() string { return protocolNames[p] }

// tlsHeaderLen is the length of a TLS record header (RFC 8446 §5.1).
const tlsHeaderLen = 5

// maxTLSRecord is the longest record, with the expansion TLS 1.2 allows.
const maxTLSRecord = 16384 + 2048

// detect tells the protocol from the first bytes of a direction. It returns
// Undecided if more bytes are needed to tell. The client's preface comes
// before HTTP/1, whose grammar it was made to fit. midstream tells that b may be
// something else than the start of a connection.
func detect(b []byte, midstream bool) Protocol {
	preface, morePreface := http2.LooksLikePreface(b)
	frames, moreFrames := http2.LooksLikeSettings(b)
	if midstream && !frames {
		frames, moreFrames = http2.LooksLikeFrames(b)
	}
	switch {
	case preface, frames:
		return HTTP2
	case morePreface, moreFrames:
		return Undecided
	}
	request, moreRequest := http1.LooksLikeRequest(b)
	response, moreResponse := http1.LooksLikeResponse(b)
	if request || response {
		return HTTP1
	}
	tls, moreTLS := looksLikeTLS(b)
	switch {
	case tls:
		return TLS
	case moreRequest || moreResponse || moreTLS:
		return Undecided
	}
	return Unknown
}

// looksLikeTLS reports whether b starts with the header of a TLS record:
// content type 20 to 23, version 3.0 to 3.4, and a length that a record may have.
func looksLikeTLS(b []byte) (ok, needMore bool) {
	for i, c := range b[:min(len(b), 3)] {
		switch {
		case i == 0 && (c < 20 || c > 23), i == 1 && c != 3, i == 2 && c > 4:
			return false, false
		}
	}
	if len(b) < tlsHeaderLen {
		return false, true
	}
	length := int(b[3])<<8 | int(b[4])
	return length > 0 && length <= maxTLSRecord, false
}

var protocolDescriptions = [NumProtocols]string{
	"undecided: too little was seen", "HTTP/1", "HTTP/2", "encrypted (TLS)", "unknown",
}

// Describe returns the protocol in words.
func (p Protocol) Describe() string { return protocolDescriptions[p] }
