package engine

import (
	"capstan/interceptor/internal/l7/http1"
	"capstan/interceptor/internal/l7/http2"
	"capstan/interceptor/internal/l7/tls"
)

// Protocol is what a connection was found to carry.
type Protocol uint8

// The protocols a connection is counted under.
const (
	Undecided Protocol = iota // not enough bytes seen yet, or joined inside a message
	HTTP1
	HTTP2 // gRPC included
	WebSocket
	TLS     // encrypted
	Unknown // none of the above
	NumProtocols
)

var protocolNames = [NumProtocols]string{"undecided", "http1", "http2", "websocket", "tls", "unknown"}

// String returns the protocol's name as metrics and the ledger print it.
func (p Protocol) String() string { return protocolNames[p] }

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
	request, moreRequest := http1.LooksLikeRequest(b, midstream)
	if request {
		return HTTP1
	}
	response, moreResponse := http1.LooksLikeResponse(b)
	if response {
		return HTTP1
	}
	record, moreRecord := tls.LooksLikeRecord(b)
	switch {
	case record:
		return TLS
	case moreRequest || moreResponse || moreRecord:
		return Undecided
	}
	return Unknown
}

var protocolDescriptions = [NumProtocols]string{
	"undecided: too little was seen", "HTTP/1", "HTTP/2", "WebSocket", "encrypted (TLS)", "unknown",
}

// Describe returns the protocol in words.
func (p Protocol) Describe() string { return protocolDescriptions[p] }
