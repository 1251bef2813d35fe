package tls

import (
	"crypto/tls"
	"slices"
	"strings"

	"golang.org/x/crypto/cryptobyte"

	capstanv1 "capstan/proto/capstan/v1"
)

// Messages of a handshake (RFC 8446 §4).
const (
	clientHello      = 1
	serverHello      = 2
	messageHeaderLen = 4 // type, length in 24 bits
)

func messageLen(b []byte) int { return int(b[1])<<16 | int(b[2])<<8 | int(b[3]) }

const version13 = 0x0304

// Extensions (IANA TLS ExtensionType values).
const (
	extServerName           = 0
	extALPN                 = 16
	extSessionTicket        = 35
	extPreSharedKey         = 41
	extSupportedVersions    = 43
	extEncryptedClientHello = 0xfe0d
)

// maxOffered bounds the lists that are kept of a ClientHello.
const maxOffered = 32

// retryRandom marks a ServerHello that asks for another ClientHello (RFC 8446
// §4.1.3).
var retryRandom = []byte{
	0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
	0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
}

const randomLen = 32

// parseClientHello takes the body of a ClientHello (RFC 8446 §4.1.2). A later one
// replaces what an earlier one said.
func parseClientHello(r *capstanv1.Tls, b []byte) bool {
	s := cryptobyte.String(b)
	var version uint16
	var random []byte
	var session, suites, compression cryptobyte.String
	if !s.ReadUint16(&version) || !s.ReadBytes(&random, randomLen) || !s.ReadUint8LengthPrefixed(&session) ||
		!s.ReadUint16LengthPrefixed(&suites) || !s.ReadUint8LengthPrefixed(&compression) {
		return false
	}
	r.ServerName, r.AlpnOffered, r.ResumptionOffered, r.EncryptedClientHello = "", nil, false, false
	r.VersionsOffered = []uint32{uint32(version)}
	return extensions(s, func(kind uint16, data cryptobyte.String) bool {
		switch kind {
		case extServerName:
			return parseServerName(r, data)
		case extALPN:
			return parseProtocols(&r.AlpnOffered, data)
		case extSupportedVersions:
			return parseVersions(r, data)
		case extSessionTicket:
			r.ResumptionOffered = r.ResumptionOffered || len(data) > 0
		case extPreSharedKey:
			r.ResumptionOffered = true
		case extEncryptedClientHello:
			r.EncryptedClientHello = true
		}
		return true
	})
}

// extensions calls each for every extension of a hello, which may have none.
func extensions(s cryptobyte.String, each func(kind uint16, data cryptobyte.String) bool) bool {
	if s.Empty() {
		return true
	}
	var list cryptobyte.String
	if !s.ReadUint16LengthPrefixed(&list) {
		return false
	}
	for !list.Empty() {
		var kind uint16
		var data cryptobyte.String
		if !list.ReadUint16(&kind) || !list.ReadUint16LengthPrefixed(&data) || !each(kind, data) {
			return false
		}
	}
	return true
}

// parseServerName takes server_name (RFC 6066 §3).
func parseServerName(r *capstanv1.Tls, s cryptobyte.String) bool {
	const hostName = 0
	var list cryptobyte.String
	if !s.ReadUint16LengthPrefixed(&list) {
		return false
	}
	for !list.Empty() {
		var kind uint8
		var name cryptobyte.String
		if !list.ReadUint8(&kind) || !list.ReadUint16LengthPrefixed(&name) {
			return false
		}
		if kind == hostName && r.ServerName == "" {
			r.ServerName = text(name)
		}
	}
	return true
}

// parseProtocols takes the names of application protocols (RFC 7301 §3.1).
func parseProtocols(to *[]string, s cryptobyte.String) bool {
	var list cryptobyte.String
	if !s.ReadUint16LengthPrefixed(&list) {
		return false
	}
	for !list.Empty() {
		var name cryptobyte.String
		if !list.ReadUint8LengthPrefixed(&name) {
			return false
		}
		if len(*to) < maxOffered {
			*to = append(*to, text(name))
		}
	}
	return true
}

func parseVersions(r *capstanv1.Tls, s cryptobyte.String) bool {
	var list cryptobyte.String
	if !s.ReadUint8LengthPrefixed(&list) {
		return false
	}
	r.VersionsOffered = r.VersionsOffered[:0]
	for !list.Empty() {
		var v uint16
		if !list.ReadUint16(&v) {
			return false
		}
		if len(r.VersionsOffered) < maxOffered {
			r.VersionsOffered = append(r.VersionsOffered, uint32(v))
		}
	}
	return true
}

// parseServerHello takes the body of a ServerHello (RFC 8446 §4.1.3).
func parseServerHello(r *capstanv1.Tls, b []byte) bool {
	s := cryptobyte.String(b)
	var version, suite uint16
	var random []byte
	var session cryptobyte.String
	var compression uint8
	if !s.ReadUint16(&version) || !s.ReadBytes(&random, randomLen) || !s.ReadUint8LengthPrefixed(&session) ||
		!s.ReadUint16(&suite) || !s.ReadUint8(&compression) {
		return false
	}
	var chosen []string
	if !extensions(s, func(kind uint16, data cryptobyte.String) bool {
		switch kind {
		case extSupportedVersions:
			return data.ReadUint16(&version)
		case extALPN:
			return parseProtocols(&chosen, data)
		}
		return true
	}) {
		return false
	}
	r.Version, r.CipherSuite, r.CipherSuiteName = uint32(version), uint32(suite), suiteName(suite)
	if len(chosen) > 0 {
		r.Alpn = chosen[0]
	}
	if slices.Equal(random, retryRandom) {
		r.HelloRetry = true
	} else {
		r.ServerHello = true
	}
	return true
}

// suiteName returns the name of a cipher suite, empty if it is not known here.
func suiteName(id uint16) string {
	if name := tls.CipherSuiteName(id); !strings.HasPrefix(name, "0x") {
		return name
	}
	return ""
}

// text makes b a string that a record can hold.
func text(b []byte) string { return strings.ToValidUTF8(string(b), "\uFFFD") }
