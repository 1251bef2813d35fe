package opaque

import (
	"bytes"
	"unicode/utf8"
)

// PrefixLen is how many of the first bytes are looked at.
const PrefixLen = 32

// banner is how the first bytes of a protocol begin.
type banner struct {
	prefix     string
	fromClient bool
	name       string
}

// banners are those of protocols that name themselves, or whose first bytes
// hardly anything else begins with.
var banners = []banner{
	{"SSH-", false, "ssh"},
	{"SSH-", true, "ssh"},
	{"220 ", false, "smtp-or-ftp"},
	{"220-", false, "smtp-or-ftp"},
	{"+OK", false, "pop3"},
	{"* OK", false, "imap"},
	{"RFB 00", false, "vnc"},
	{"HTTP/1.", false, "http"},
	{"\x05\x01\x00", true, "socks5"},
	{"\x03\x00\x00", true, "rdp"},
	{"*1\r\n$", true, "redis"},
	{"*2\r\n$", true, "redis"},
	{"*3\r\n$", true, "redis"},
	{"AMQP", true, "amqp"},
	{"INFO {", false, "nats"},
	{"\x13BitTorrent protocol", true, "bittorrent"},
	{"<?xml", true, "xml"},
	{"\x00\x00\x00\x08\x04\xd2\x16\x2f", true, "postgresql"}, // asks for TLS
	{"REQMOD icap", true, icap},
	{"RESPMOD icap", true, icap},
	{"OPTIONS icap", true, icap},
	{"ICAP/1.0 ", false, icap},
}

const icap = "icap"

// CarriesHTTP reports whether b begins as a message of ICAP does (RFC 3507 §4.3), from
// either end. Those carry messages of HTTP, either way, which are none of the connection's.
func CarriesHTTP(b []byte) bool {
	for _, k := range banners {
		if k.name == icap && bytes.HasPrefix(b, []byte(k.prefix)) {
			return true
		}
	}
	return false
}

// LooksLike names what begins with b: a protocol, else text or binary.
func LooksLike(b []byte, fromClient bool) string {
	b = b[:min(len(b), PrefixLen)]
	if len(b) == 0 {
		return ""
	}
	for _, k := range banners {
		if k.fromClient == fromClient && bytes.HasPrefix(b, []byte(k.prefix)) {
			return k.name
		}
	}
	switch {
	case startsPostgreSQL(b, fromClient):
		return "postgresql"
	case startsMySQL(b, fromClient):
		return "mysql"
	case startsMQTT(b, fromClient):
		return "mqtt"
	case isText(b):
		return "text"
	}
	return "binary"
}

// startsPostgreSQL: a length, then version 3.0 of the protocol.
func startsPostgreSQL(b []byte, fromClient bool) bool {
	return fromClient && len(b) >= 8 && b[0] == 0 && bytes.Equal(b[4:8], []byte{0, 3, 0, 0})
}

// startsMySQL: the greeting is packet 0, of version 10 and a version's digits.
func startsMySQL(b []byte, fromClient bool) bool {
	return !fromClient && len(b) >= 6 && b[2] == 0 && b[3] == 0 && b[4] == 10 && b[5] >= '0' && b[5] <= '9'
}

// startsMQTT: CONNECT with the protocol's name behind its length.
func startsMQTT(b []byte, fromClient bool) bool {
	return fromClient && len(b) >= 8 && b[0] == 0x10 && bytes.Contains(b[2:min(len(b), 11)], []byte("\x00\x04MQTT"))
}

// isText reports whether b has printable characters only, and what text has
// besides. b may end inside a character.
func isText(b []byte) bool {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case r == utf8.RuneError && n <= 1:
			return !utf8.FullRune(b)
		case r < ' ' && r != '\t' && r != '\r' && r != '\n', r == 0x7f:
			return false
		}
		b = b[n:]
	}
	return true
}
