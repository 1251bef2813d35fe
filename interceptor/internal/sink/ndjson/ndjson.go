// Package ndjson writes records as JSON, one object per line.
//
// The object of an exchange, field by field, in this order; Exchange is the
// message of proto/capstan/v1. Every field is always there unless it says "if":
//
//	id           string   Exchange.id
//	protocol     string   Exchange.protocol: HTTP1, HTTP2, GRPC, WEBSOCKET, TLS, OTHER
//	client       object   Exchange.client: address (string), port (number)
//	server       object   Exchange.server, likewise
//	startTime    string   Exchange.start_time_unix_ns: RFC 3339, UTC, nine fractional digits
//	durationNs   number   Exchange.duration_ns
//	complete     boolean  Exchange.complete
//	flaws        array    Exchange.flaws: gap, noRequest, noResponse, closedEarly, captureEnded, timeout, evicted, headersCut, malformed, headersUnknown, reset, conflict, placeGuessed
//	source       string   Exchange.source
//	streamId     number   Exchange.stream_id, if HTTP/2
//	errorCode    number   Exchange.error_code, if reset
//	pushed       boolean  Exchange.pushed, if true
//	proxied      object   Exchange.proxied, if the connection began with a header of the PROXY protocol
//	proxiedFurther array  Exchange.proxied_further, likewise, if there were further ones
//	socks        object   Exchange.socks, if the connection went through a SOCKS proxy, or was to
//	request      object   if the request was seen
//	response     object   if the response was seen
//	grpc         object   Exchange.grpc, if it is a call of gRPC or gRPC-Web
//	connection   object   Exchange.connection, if the record is that of a connection
//	websocket    object   Exchange.websocket, if it carries WebSocket
//	tls          object   Exchange.tls, if it carries TLS
//
// proxied:
//
//	version              number
//	source, destination  objects: address (string), port (number), if they were told
//
// socks:
//
//	version, command     numbers
//	target               string, host:port
//	reply                number, if one was seen
//	outer                object, likewise, if there was a tunnel around
//
// request:
//
//	method, target, authority, version   strings
//	scheme, protocol    strings, if they were sent (HTTP/2)
//	headers, trailers   arrays of {name, value}, in the order seen; with
//	                    nameUnknown, valueUnknown: true, if so
//	bodySize            number   after transfer decoding, before content decoding
//	bodyGapBytes        number   bytes of it that were never captured
//	body                string   base64 of its first bytes, if any were kept
//	bodyTruncated       boolean  whether body is not all of it
//	decoding            string   complete, partial, invalid, unsupported or limit: how
//	                    far body's content codings could be undone, if it has any
//	decodedSize         number   what body decodes to, likewise
//	decoded             string   base64 of its first bytes, if there are any
//	firstByteNs         number   first byte's time, nanoseconds after startTime
//	lastByteNs          number   last byte's time, likewise
//
// response: status (number), reason, version, then headers to bodyTruncated as
// above, interimStatuses (array of numbers), firstByteNs, lastByteNs.
//
// grpc:
//
//	service, method     strings
//	web                 boolean
//	requestMessages     object: count, bytes, compressed (numbers), lengths (array
//	responseMessages    of numbers, the first ones), incomplete (boolean)
//	status              number, if one was seen
//	statusMessage       string, percent-decoded, if not empty
//	timeoutNs           number, if the client set one
//	requestEncoding     string, if it was sent
//	responseEncoding    likewise
//
// connection:
//
//	client, server      objects: bytes, segments, gapBytes (numbers)
//	close               string: fin, reset, replaced, timeout, evicted, captureEnded, sourceLost
//	looksLike           string, if known
//	midstream           boolean
//
// websocket:
//
//	client, server      objects: frames, textMessages, binaryMessages, pings, pongs,
//	                    messageBytes, compressedMessages, resyncs, brokenMessages,
//	                    malformedFrames (numbers); closeCode (number) and
//	                    closeReason (string), if the end closed
//	compression         boolean
//	subprotocol         string, if one was chosen
//	messages            array of objects: fromClient (boolean), opcode (number),
//	                    firstByteNs, lastByteNs, size, frames (numbers), compressed,
//	                    incomplete (booleans), content (base64) and contentSize, if kept
//
// tls:
//
//	serverName, alpn, cipherSuiteName   strings, if known
//	alpnOffered         array of strings
//	version, cipherSuite, encryptedBytes   numbers
//	versionsOffered     array of numbers
//	clientHello, serverHello, helloRetry, encryptedClientHello, resumptionOffered   booleans
//	alert               number, if there was one in the clear
package ndjson

import (
	"slices"
	"strconv"
	"time"

	"capstan/interceptor/internal/delivery"
	capstanv1 "capstan/proto/capstan/v1"
)

// Lines is the form of those who want Append's lines.
var Lines = &delivery.Form{Append: Append}

// Append appends the line of x, newline included, to dst. It allocates only to
// grow dst.
func Append(dst []byte, x *capstanv1.Exchange) []byte {
	dst = appendString(append(dst, `{"id":`...), x.GetId())
	dst = appendString(append(dst, `,"protocol":`...), nameOf(protocolNames[:], int32(x.GetProtocol())))
	dst = appendEndpoint(append(dst, `,"client":`...), x.GetClient())
	dst = appendEndpoint(append(dst, `,"server":`...), x.GetServer())
	start := x.GetStartTimeUnixNs()
	dst = append(dst, `,"startTime":"`...)
	dst = appendTime(dst, time.Unix(0, int64(start)).UTC())
	dst = strconv.AppendInt(append(dst, `","durationNs":`...), x.GetDurationNs(), 10)
	dst = strconv.AppendBool(append(dst, `,"complete":`...), x.GetComplete())
	dst = appendFlaws(append(dst, `,"flaws":`...), x.GetFlaws())
	dst = appendString(append(dst, `,"source":`...), x.GetSource())
	dst = appendStream(dst, x)
	if p := x.GetProxied(); p != nil {
		dst = appendProxied(append(dst, `,"proxied":`...), p)
	}
	if further := x.GetProxiedFurther(); len(further) > 0 {
		dst = append(dst, `,"proxiedFurther":`...)
		sep := byte('[')
		for _, p := range further {
			dst = appendProxied(append(dst, sep), p)
			sep = ','
		}
		dst = append(dst, ']')
	}
	if s := x.GetSocks(); s != nil {
		dst = appendSocks(append(dst, `,"socks":`...), s)
	}
	if q := x.GetRequest(); q != nil {
		dst = appendRequest(append(dst, `,"request":`...), q, start)
	}
	if p := x.GetResponse(); p != nil {
		dst = appendResponse(append(dst, `,"response":`...), p, start)
	}
	if g := x.GetGrpc(); g != nil {
		dst = appendGrpc(append(dst, `,"grpc":`...), g)
	}
	if c := x.GetConnection(); c != nil {
		dst = appendConnection(append(dst, `,"connection":`...), c)
	}
	if w := x.GetWebsocket(); w != nil {
		dst = appendWebSocket(append(dst, `,"websocket":`...), w, start)
	}
	if t := x.GetTls(); t != nil {
		dst = appendTLS(append(dst, `,"tls":`...), t)
	}
	return append(dst, "}\n"...)
}

// appendStream appends what only HTTP/2 has.
func appendStream(dst []byte, x *capstanv1.Exchange) []byte {
	if id := x.GetStreamId(); id != 0 {
		dst = strconv.AppendUint(append(dst, `,"streamId":`...), uint64(id), 10)
	}
	if slices.Contains(x.GetFlaws(), capstanv1.Flaw_FLAW_RESET) {
		dst = strconv.AppendUint(append(dst, `,"errorCode":`...), uint64(x.GetErrorCode()), 10)
	}
	if x.GetPushed() {
		dst = append(dst, `,"pushed":true`...)
	}
	return dst
}

func appendProxied(dst []byte, p *capstanv1.Proxied) []byte {
	dst = strconv.AppendUint(append(dst, `{"version":`...), uint64(p.GetVersion()), 10)
	if p.GetSource() != nil {
		dst = appendEndpoint(append(dst, `,"source":`...), p.GetSource())
		dst = appendEndpoint(append(dst, `,"destination":`...), p.GetDestination())
	}
	return append(dst, '}')
}

func appendSocks(dst []byte, s *capstanv1.Socks) []byte {
	dst = strconv.AppendUint(append(dst, `{"version":`...), uint64(s.GetVersion()), 10)
	dst = strconv.AppendUint(append(dst, `,"command":`...), uint64(s.GetCommand()), 10)
	dst = appendString(append(dst, `,"target":`...), s.GetTarget())
	if s.GetReplied() {
		dst = strconv.AppendUint(append(dst, `,"reply":`...), uint64(s.GetReply()), 10)
	}
	if o := s.GetOuter(); o != nil {
		dst = appendSocks(append(dst, `,"outer":`...), o)
	}
	return append(dst, '}')
}

func appendRequest(dst []byte, q *capstanv1.HttpRequest, start uint64) []byte {
	dst = appendString(append(dst, `{"method":`...), q.GetMethod())
	dst = appendString(append(dst, `,"target":`...), q.GetTarget())
	dst = appendString(append(dst, `,"authority":`...), q.GetAuthority())
	dst = appendString(append(dst, `,"version":`...), q.GetVersion())
	dst = appendIfSent(dst, `,"scheme":`, q.GetScheme())
	dst = appendIfSent(dst, `,"protocol":`, q.GetProtocol())
	dst = appendContent(dst, q.GetHeaders(), q.GetTrailers(), q.GetBody())
	return append(appendTimes(dst, q.GetFirstByteUnixNs(), q.GetLastByteUnixNs(), start), '}')
}

func appendResponse(dst []byte, p *capstanv1.HttpResponse, start uint64) []byte {
	dst = strconv.AppendUint(append(dst, `{"status":`...), uint64(p.GetStatus()), 10)
	dst = appendString(append(dst, `,"reason":`...), p.GetReason())
	dst = appendString(append(dst, `,"version":`...), p.GetVersion())
	dst = appendContent(dst, p.GetHeaders(), p.GetTrailers(), p.GetBody())
	dst = append(dst, `,"interimStatuses":[`...)
	for i, s := range p.GetInterimStatuses() {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendUint(dst, uint64(s), 10)
	}
	dst = append(dst, ']')
	return append(appendTimes(dst, p.GetFirstByteUnixNs(), p.GetLastByteUnixNs(), start), '}')
}

// appendContent appends what requests and responses have alike.
func appendContent(dst []byte, headers, trailers []*capstanv1.Header, b *capstanv1.Body) []byte {
	dst = appendHeaders(append(dst, `,"headers":`...), headers)
	dst = appendHeaders(append(dst, `,"trailers":`...), trailers)
	dst = strconv.AppendUint(append(dst, `,"bodySize":`...), b.GetSize(), 10)
	dst = strconv.AppendUint(append(dst, `,"bodyGapBytes":`...), b.GetGapBytes(), 10)
	if content := b.GetContent(); len(content) > 0 {
		dst = appendBytes(append(dst, `,"body":`...), content)
	}
	dst = strconv.AppendBool(append(dst, `,"bodyTruncated":`...), b.GetTruncated())
	return appendDecoded(dst, b)
}

// appendDecoded appends what a body was before its content codings.
func appendDecoded(dst []byte, b *capstanv1.Body) []byte {
	if b.GetDecoding() == capstanv1.Decoding_DECODING_UNSPECIFIED {
		return dst
	}
	dst = appendString(append(dst, `,"decoding":`...), nameOf(decodingNames[:], int32(b.GetDecoding())))
	dst = strconv.AppendUint(append(dst, `,"decodedSize":`...), b.GetDecodedSize(), 10)
	if decoded := b.GetDecoded(); len(decoded) > 0 {
		dst = appendBytes(append(dst, `,"decoded":`...), decoded)
	}
	return dst
}

// decodingNames are the enum's names as those of flaws.
var decodingNames = [...]string{
	capstanv1.Decoding_DECODING_UNSPECIFIED: "unspecified",
	capstanv1.Decoding_DECODING_COMPLETE:    "complete",
	capstanv1.Decoding_DECODING_PARTIAL:     "partial",
	capstanv1.Decoding_DECODING_INVALID:     "invalid",
	capstanv1.Decoding_DECODING_UNSUPPORTED: "unsupported",
	capstanv1.Decoding_DECODING_LIMIT:       "limit",
}

// nameOf returns the name of an enum's value, the first for one that is not
// known here.
func nameOf(names []string, value int32) string {
	if value < 0 || int(value) >= len(names) {
		return names[0]
	}
	return names[value]
}

func appendTimes(dst []byte, first, last, start uint64) []byte {
	dst = strconv.AppendInt(append(dst, `,"firstByteNs":`...), int64(first-start), 10)
	return strconv.AppendInt(append(dst, `,"lastByteNs":`...), int64(last-start), 10)
}

func appendHeaders(dst []byte, headers []*capstanv1.Header) []byte {
	dst = append(dst, '[')
	for i, h := range headers {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(append(dst, `{"name":`...), h.GetName())
		dst = appendString(append(dst, `,"value":`...), h.GetValue())
		if h.GetNameUnknown() {
			dst = append(dst, `,"nameUnknown":true`...)
		}
		if h.GetValueUnknown() {
			dst = append(dst, `,"valueUnknown":true`...)
		}
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

// appendTime appends t, which is in UTC, with nine digits of the second. Of the library's
// layouts only RFC 3339's, which has none or as many as it takes, is fast.
func appendTime(dst []byte, t time.Time) []byte {
	dst = t.AppendFormat(dst, time.RFC3339)
	dst = append(dst[:len(dst)-len("Z")], '.')
	for unit := 100_000_000; unit > 0; unit /= 10 {
		dst = append(dst, byte('0'+t.Nanosecond()/unit%10))
	}
	return append(dst, 'Z')
}

func appendEndpoint(dst []byte, e *capstanv1.Endpoint) []byte {
	dst = appendString(append(dst, `{"address":`...), e.GetAddress())
	dst = strconv.AppendUint(append(dst, `,"port":`...), uint64(e.GetPort()), 10)
	return append(dst, '}')
}

// protocolNames are the enum's names without their prefix.
var protocolNames = [...]string{
	capstanv1.Protocol_PROTOCOL_UNSPECIFIED: "UNSPECIFIED",
	capstanv1.Protocol_PROTOCOL_HTTP1:       "HTTP1",
	capstanv1.Protocol_PROTOCOL_HTTP2:       "HTTP2",
	capstanv1.Protocol_PROTOCOL_GRPC:        "GRPC",
	capstanv1.Protocol_PROTOCOL_WEBSOCKET:   "WEBSOCKET",
	capstanv1.Protocol_PROTOCOL_TLS:         "TLS",
	capstanv1.Protocol_PROTOCOL_OTHER:       "OTHER",
}

// flawNames are the enum's names without their prefix, in lowerCamelCase.
var flawNames = [...]string{
	capstanv1.Flaw_FLAW_UNSPECIFIED:     "unspecified",
	capstanv1.Flaw_FLAW_GAP:             "gap",
	capstanv1.Flaw_FLAW_NO_REQUEST:      "noRequest",
	capstanv1.Flaw_FLAW_NO_RESPONSE:     "noResponse",
	capstanv1.Flaw_FLAW_CLOSED_EARLY:    "closedEarly",
	capstanv1.Flaw_FLAW_CAPTURE_ENDED:   "captureEnded",
	capstanv1.Flaw_FLAW_TIMEOUT:         "timeout",
	capstanv1.Flaw_FLAW_EVICTED:         "evicted",
	capstanv1.Flaw_FLAW_HEADERS_CUT:     "headersCut",
	capstanv1.Flaw_FLAW_MALFORMED:       "malformed",
	capstanv1.Flaw_FLAW_HEADERS_UNKNOWN: "headersUnknown",
	capstanv1.Flaw_FLAW_RESET:           "reset",
	capstanv1.Flaw_FLAW_CONFLICT:        "conflict",
	capstanv1.Flaw_FLAW_PLACE_GUESSED:   "placeGuessed",
}

func appendFlaws(dst []byte, flaws []capstanv1.Flaw) []byte {
	dst = append(dst, '[')
	for i, f := range flaws {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, nameOf(flawNames[:], int32(f)))
	}
	return append(dst, ']')
}
