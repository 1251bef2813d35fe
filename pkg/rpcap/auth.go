package rpcap

import (
	"encoding/binary"
	"math/bits"
)

// AuthType is the kind of credentials in an AUTH_REQ (RPCAP_RMTAUTH_*).
type AuthType uint16

// The kinds of credentials.
const (
	AuthNull     AuthType = 0
	AuthPassword AuthType = 1
)

// AuthRequest is the first message of a client (struct rpcap_auth).
type AuthRequest struct {
	AuthType AuthType
	User     string // at most 65,535 bytes; sent only with AuthPassword
	Password []byte // likewise; travels in clear. When decoded it aliases the body, so that it can be wiped.
}

// Type returns [TypeAuthRequest].
func (*AuthRequest) Type() Type { return TypeAuthRequest }

func (*AuthRequest) headerValue() uint16 { return 0 }

func (m *AuthRequest) appendBody(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(m.AuthType))
	dst = append(dst, 0, 0)
	if m.AuthType == AuthNull {
		return append(dst, 0, 0, 0, 0)
	}
	user, password := cut(m.User), cut(m.Password)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(user)))
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(password)))
	dst = append(dst, user...)
	return append(dst, password...)
}

func (m *AuthRequest) decodeBody(_ uint16, c cursor) error {
	m.AuthType = AuthType(c.u16("type"))
	c.u16("dummy")
	userLen := int(c.u16("slen1"))
	passwordLen := int(c.u16("slen2"))
	m.User, m.Password = "", nil
	// The lengths mean nothing for other types, so they are not looked at.
	if m.AuthType == AuthPassword {
		m.User = c.string("user", userLen)
		m.Password = c.bytes("password", passwordLen)
	}
	return c.done()
}

// cut shortens s to what a 16-bit length can tell.
func cut[S ~string | ~[]byte](s S) S { return s[:min(len(s), 1<<16-1)] }

// ByteOrderMagic is sent in the byte order of the server's host.
const ByteOrderMagic = 0xa1b2c3d4

// AuthReply accepts a client (struct rpcap_authreply).
type AuthReply struct {
	MinVersion, MaxVersion uint8
	// ByteOrder is the byte order of the server's host. Link types with
	// fields in host order are rare, but there the client needs it. Nil when
	// the reply came from a server too old to tell.
	ByteOrder binary.ByteOrder
}

// Type returns [TypeAuthReply].
func (*AuthReply) Type() Type { return TypeAuthReply }

func (*AuthReply) headerValue() uint16 { return 0 }

// appendBody writes 8 bytes, which clients of every age accept, or the 2 of
// libpcap 1.9.1 to 1.10.1 if the byte order is unknown.
func (m *AuthReply) appendBody(dst []byte) []byte {
	dst = append(dst, m.MinVersion, m.MaxVersion)
	if m.ByteOrder == nil {
		return dst
	}
	var magic [4]byte
	m.ByteOrder.PutUint32(magic[:], ByteOrderMagic)
	return append(append(dst, 0, 0), magic[:]...)
}

// decodeBody takes every form that servers have sent: nothing (WinPcap and
// libpcap up to 1.9.0), 2 bytes and 8.
func (m *AuthReply) decodeBody(_ uint16, c cursor) error {
	*m = AuthReply{}
	if c.left() == 0 {
		return nil
	}
	m.MinVersion = c.u8("minvers")
	m.MaxVersion = c.u8("maxvers")
	if c.left() < 6 { // Deviation: libpcap refuses 3 to 7 bytes; we read them as 2
		return c.done()
	}
	c.bytes("pad", 2)
	want := uint32(ByteOrderMagic)
	switch magic := c.u32("byte_order_magic"); magic {
	case want:
		m.ByteOrder = binary.BigEndian
	case bits.ReverseBytes32(want):
		m.ByteOrder = binary.LittleEndian
	default:
		c.reject("byte_order_magic", 4, int(magic), int(want), "The server did not send us a valid byte order value")
	}
	return c.done()
}
