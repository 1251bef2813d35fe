package rpcap

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ErrorCode is the code of an ERROR message (PCAP_ERR_*). It is what travels
// and deliberately no Go error: see [RemoteError] for one that arrived.
type ErrorCode uint16

// The error codes.
const (
	CodeNetwork        ErrorCode = 1
	CodeInitTimeout    ErrorCode = 2
	CodeAuth           ErrorCode = 3
	CodeFindAllIf      ErrorCode = 4
	CodeNoRemoteIf     ErrorCode = 5
	CodeOpen           ErrorCode = 6
	CodeUpdateFilter   ErrorCode = 7
	CodeGetStats       ErrorCode = 8
	CodeRead           ErrorCode = 9
	CodeHostNoAuth     ErrorCode = 10
	CodeRemoteAccept   ErrorCode = 11
	CodeStartCapture   ErrorCode = 12
	CodeEndCapture     ErrorCode = 13
	CodeRuntimeTimeout ErrorCode = 14
	CodeSetSampling    ErrorCode = 15
	CodeWrongMessage   ErrorCode = 16
	CodeWrongVersion   ErrorCode = 17
	CodeAuthFailed     ErrorCode = 18
	CodeTLSRequired    ErrorCode = 19
	CodeAuthType       ErrorCode = 20
)

var codeNames = [...]string{
	CodeNetwork: "NETW", CodeInitTimeout: "INITTIMEOUT", CodeAuth: "AUTH", CodeFindAllIf: "FINDALLIF",
	CodeNoRemoteIf: "NOREMOTEIF", CodeOpen: "OPEN", CodeUpdateFilter: "UPDATEFILTER", CodeGetStats: "GETSTATS",
	CodeRead: "READEX", CodeHostNoAuth: "HOSTNOAUTH", CodeRemoteAccept: "REMOTEACCEPT", CodeStartCapture: "STARTCAPTURE",
	CodeEndCapture: "ENDCAPTURE", CodeRuntimeTimeout: "RUNTIMETIMEOUT", CodeSetSampling: "SETSAMPLING",
	CodeWrongMessage: "WRONGMSG", CodeWrongVersion: "WRONGVER", CodeAuthFailed: "AUTH_FAILED",
	CodeTLSRequired: "TLS_REQUIRED", CodeAuthType: "AUTH_TYPE_NOTSUP",
}

// String returns the reference's name without PCAP_ERR_, or "code n".
func (c ErrorCode) String() string {
	if int(c) < len(codeNames) && codeNames[c] != "" {
		return codeNames[c]
	}
	return fmt.Sprintf("code %d", uint16(c))
}

// Error is the ERROR message, which either side may send at any time and
// which is never answered. libpcap's client shows the text and drops the
// code, so the text is what users and scripts know.
type Error struct {
	Code ErrorCode
	Text string // at most MaxErrorText bytes are sent, 255 kept; no NUL at its end
}

// Type returns [TypeError].
func (*Error) Type() Type { return TypeError }

func (m *Error) headerValue() uint16 { return uint16(m.Code) }

func (m *Error) appendBody(dst []byte) []byte {
	return append(dst, m.Text[:min(len(m.Text), MaxErrorText)]...)
}

func (m *Error) decodeBody(value uint16, c cursor) error {
	m.Code = ErrorCode(value)
	// Some servers count a terminating NUL in their strings.
	m.Text = strings.TrimRight(c.string("text", min(c.left(), MaxErrorText-1)), "\x00")
	return c.done()
}

// RemoteError is an ERROR that the peer sent.
type RemoteError struct {
	Code ErrorCode
	Text string
}

// Error returns the peer's text, escaped where it could drive a terminal or begin
// a line of its own, or names the code where there is none.
func (e *RemoteError) Error() string {
	if e.Text == "" {
		return fmt.Sprintf("the other host reports error %v without a text", e.Code)
	}
	return escaped(e.Text)
}

// escaped is s with what isn't printable written as in a Go literal.
func escaped(s string) string {
	var b []byte
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			b = fmt.Appendf(b, `\x%02x`, s[i])
		case strconv.IsPrint(r):
			b = append(b, s[i:i+n]...)
		default:
			quoted := strconv.QuoteRune(r)
			b = append(b, quoted[1:len(quoted)-1]...)
		}
		i += n
	}
	return string(b)
}
