package socks

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"strconv"
	"unicode/utf8"
)

// client is what the client has said.
type client struct {
	end
	chosen  choice // as far as the server has told
	offers  offers
	command byte
	target  string
}

// offers is the methods of authentication that a client of version 5 has offered.
type offers struct {
	known bool
	set   [4]uint64
}

func (o *offers) has(method byte) bool { return o.set[method>>6]>>(method&63)&1 != 0 }

// Commands of a request (RFC 1928 §4; version 4 has the first two).
const (
	commandConnect   = 1
	commandBind      = 2
	commandAssociate = 3
)

// message takes the message at the start of b.
func (c *client) message(b []byte) int {
	if c.version == 0 {
		c.version = b[0]
	}
	switch {
	case c.version == version4:
		return c.request4(b)
	case b[0] == version5 && c.greets(b):
		return c.greeting(b)
	case b[0] == version5:
		return c.request5(b)
	case b[0] == versionPassword && c.offersPassword():
		return password(b)
	}
	return invalid
}

// greets reports whether b, of version 5, is to be the first message. Where that may be
// missing, the fourth byte tells a request: behind the shortest greeting is another message
// of version 5.
func (c *client) greets(b []byte) bool {
	if c.taken > 0 || c.gapLen > 0 {
		return false
	}
	return !c.late || len(b) < 4 || b[1] != commandConnect || b[2] != 0 || b[3] == version5
}

// greeting takes the offer of methods (RFC 1928 §3).
func (c *client) greeting(b []byte) int {
	switch {
	case len(b) < 2:
		return incomplete
	case b[1] == 0:
		return invalid
	}
	n := 2 + int(b[1])
	if len(b) < n {
		return incomplete
	}
	for _, m := range b[2:n] {
		c.offers.set[m>>6] |= 1 << (m & 63)
	}
	c.offers.known = true
	c.taken += weak
	return n
}

// offersPassword reports whether user name and password may follow.
func (c *client) offersPassword() bool {
	if c.chosen.known {
		return c.chosen.method == methodPassword
	}
	return c.offers.has(methodPassword)
}

// versionPassword is that of the negotiation of RFC 1929.
const versionPassword = 1

// password passes over a user name and password (RFC 1929 §2), of which nothing is kept.
func password(b []byte) int {
	n := 1
	for range 2 {
		if len(b) <= n {
			return incomplete
		}
		n += 1 + int(b[n])
	}
	if len(b) < n {
		return incomplete
	}
	return n
}

// request5 takes a request of version 5 (RFC 1928 §4).
func (c *client) request5(b []byte) int {
	if len(b) > 1 && (b[1] < commandConnect || b[1] > commandAssociate) {
		return invalid
	}
	a, n := address(b)
	if n > 0 {
		hostport, ok := target(b[3], a)
		if !ok {
			return invalid
		}
		c.asked(b[1], hostport)
	}
	return n
}

// request4 takes a request of version 4: command, port, address, user id. An address that
// nobody has, 0.0.0.x, tells that the name of the host follows (4A).
func (c *client) request4(b []byte) int {
	const fixedLen, maxUserLen = 8, 255
	switch {
	case len(b) > 1 && (b[1] < commandConnect || b[1] > commandBind):
		return invalid
	case len(b) < fixedLen:
		return incomplete
	}
	user, rest, ok := bytes.Cut(b[fixedLen:], []byte{0})
	n := fixedLen + len(user) + 1
	switch {
	case len(user) > maxUserLen:
		return invalid
	case !ok:
		return incomplete
	}
	ip := netip.AddrFrom4([4]byte(b[4:8]))
	host := ip.String()
	if b[4] == 0 && b[5] == 0 && b[6] == 0 && b[7] != 0 {
		name, _, ok := bytes.Cut(rest, []byte{0})
		switch {
		case len(name) > maxHostLen, ok && !isHost(name):
			return invalid
		case !ok:
			return incomplete
		}
		host = string(name)
		n += len(name) + 1
	}
	c.asked(b[1], hostPort(host, b[2:]))
	return n
}

// asked notes the request, the last message.
func (c *client) asked(command byte, target string) {
	c.command, c.target, c.done = command, target, true
	c.taken += strong
}

// Types of addresses (RFC 1928 §5).
const (
	addressIPv4 = 1
	addressName = 3
	addressIPv6 = 4
)

// address takes the part that requests and replies of version 5 have in common, behind the
// first two bytes of b: a reserved one, and an address with its port. It returns both of
// these, without the address's type, and the length of the message, incomplete or invalid.
func address(b []byte) (a []byte, n int) {
	const at = 4
	switch {
	case len(b) > 2 && b[2] != 0, len(b) > 3 && addressLen(b[3:]) == invalid:
		return nil, invalid
	case len(b) <= at:
		return nil, incomplete
	}
	n = at + addressLen(b[3:]) + 2
	if len(b) < n {
		return nil, incomplete
	}
	return b[at:n], n
}

// addressLen returns the length of the address whose type b starts with, or invalid.
func addressLen(b []byte) int {
	switch b[0] {
	case addressIPv4:
		return 4
	case addressIPv6:
		return 16
	case addressName:
		if len(b) > 1 {
			return 1 + int(b[1])
		}
		return 1
	}
	return invalid
}

// target returns an address of the given type, with its port, as host:port.
func target(kind byte, a []byte) (hostport string, ok bool) {
	a, port := a[:len(a)-2], a[len(a)-2:]
	if kind == addressName {
		return hostPort(string(a[1:]), port), isHost(a[1:])
	}
	ip, ok := netip.AddrFromSlice(a)
	return hostPort(ip.Unmap().String(), port), ok
}

func hostPort(host string, port []byte) string {
	return net.JoinHostPort(host, strconv.Itoa(int(binary.BigEndian.Uint16(port))))
}

const maxHostLen = 255

// isHost reports whether b may be the name of a host, or an address as text: no name that
// is looked up has other characters, though some have bytes that are not ASCII.
func isHost(b []byte) bool {
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= utf8.RuneSelf:
		case c == '.', c == '-', c == '_', c == ':', c == '%':
		default:
			return false
		}
	}
	return len(b) > 0 && utf8.Valid(b)
}
