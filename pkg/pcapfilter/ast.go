package pcapfilter

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// node is a part of an expression that is true or false of a frame. Its
// String parses to the same node.
type node interface {
	fmt.Stringer
	// generate returns the test that the node stands for, and moves the
	// generator's view of the frame on if the node goes into a tunnel.
	generate(g *generator) (*condition, error)
}

// logical is left AND right or left OR right; both have the same precedence
// and associate to the left.
type logical struct {
	or          bool
	left, right node
}

func (n *logical) String() string {
	// A chain leans to the left and can be as long as the expression.
	var chain []*logical
	first := node(n)
	for b, ok := first.(*logical); ok; b, ok = first.(*logical) {
		chain = append(chain, b)
		first = b.left
	}
	var s strings.Builder
	s.WriteString(first.String())
	for _, b := range slices.Backward(chain) {
		if b.or {
			s.WriteString(" or ")
		} else {
			s.WriteString(" and ")
		}
		if _, ok := b.right.(*logical); ok {
			s.WriteString("(" + b.right.String() + ")")
		} else {
			s.WriteString(b.right.String())
		}
	}
	return s.String()
}

type negation struct{ of node }

func (n *negation) String() string {
	switch n.of.(type) {
	case *logical, *relation:
		return "not (" + n.of.String() + ")"
	}
	return "not " + n.of.String()
}

// direction is which of source and destination a primitive tests.
type direction uint8

const (
	directionEither direction = iota // source or destination; the default
	directionSource
	directionDestination
	directionBoth // source and destination
)

// qualifiers stand before a value, or are carried over from the value before.
type qualifiers struct {
	protocol  *protocol // nil: none
	direction direction
	kind      valueKind
}

// valueKind is what a value names.
type valueKind uint8

const (
	kindNone  valueKind = iota // there are no qualifiers that could be carried over
	kindHost                   // "host", the default
	kindNet                    // "net"
	kindPort                   // "port"
	kindRange                  // "portrange"
	kindProto                  // "proto"
)

// String returns the qualifiers as they are written, with a space behind.
func (q qualifiers) String() string {
	s := ""
	if q.protocol != nil {
		s = q.protocol.name + " "
	}
	s += [...]string{"", "src ", "dst ", "src and dst "}[q.direction]
	return s + [...]string{"", "host ", "net ", "port ", "portrange ", "proto "}[q.kind]
}

// host is an IP address or network.
type host struct {
	qualifiers
	offset        int
	address, mask netip.Addr // of one family; the mask of an IPv4 network may have gaps
}

func (n *host) String() string {
	if n.address.Is6() {
		ones, _ := net.IPMask(n.mask.AsSlice()).Size()
		if ones == 128 {
			return n.qualifiers.String() + n.address.String()
		}
		return n.qualifiers.String() + n.address.String() + "/" + strconv.Itoa(ones)
	}
	if n.mask == allOnes {
		return n.qualifiers.String() + n.address.String()
	}
	q := n.qualifiers
	q.kind = kindNet // "host 10.1" is a network in effect
	return q.String() + n.address.String() + " mask " + n.mask.String()
}

var allOnes = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// station is an Ethernet address.
type station struct {
	qualifiers
	offset  int
	address [6]byte
}

func (n *station) String() string {
	return n.qualifiers.String() + net.HardwareAddr(n.address[:]).String()
}

// ports is a port or a range of them, first ≤ last.
type ports struct {
	qualifiers
	offset      int
	first, last uint16
}

func (n *ports) String() string {
	q := n.qualifiers
	if n.first == n.last {
		q.kind = kindPort
		return q.String() + strconv.Itoa(int(n.first))
	}
	q.kind = kindRange
	return fmt.Sprintf("%s%d-%d", q, n.first, n.last)
}

// number is a protocol by its number.
type number struct {
	qualifiers
	offset int
	value  uint32
}

func (n *number) String() string {
	return n.qualifiers.String() + strconv.FormatUint(uint64(n.value), 10)
}

// keyword is a protocol by its name alone, such as "tcp".
type keyword struct {
	protocol *protocol
	offset   int
}

func (n *keyword) String() string { return n.protocol.name }

// cast is "broadcast" or "multicast".
type cast struct {
	protocol *protocol // nil: none
	offset   int
	multi    bool
}

func (n *cast) String() string {
	s := "broadcast"
	if n.multi {
		s = "multicast"
	}
	return qualifiers{protocol: n.protocol}.String() + s
}

// isisPacket is a kind of IS-IS packets, by its keyword.
type isisPacket struct {
	name   string
	offset int
}

func (n *isisPacket) String() string { return n.name }

// llc is a frame with an LLC header.
type llc struct {
	kind   string // a key of llcTypes; empty is any
	offset int
}

func (n *llc) String() string {
	if n.kind == "" {
		return "llc"
	}
	return "llc " + n.kind
}

// travel is "inbound" or "outbound".
type travel struct {
	outbound bool
	offset   int
}

func (n *travel) String() string {
	if n.outbound {
		return "outbound"
	}
	return "inbound"
}

// interfaceIndex is "ifindex N".
type interfaceIndex struct {
	index  uint32
	offset int
}

func (n *interfaceIndex) String() string { return "ifindex " + strconv.FormatUint(uint64(n.index), 10) }

// tunnel is a header that others follow: "vlan", "mpls", "pppoed", "pppoes". It
// moves the view of all that is written behind it, to the end of the
// expression.
type tunnel struct {
	name   string
	offset int
	any    bool // no identifier was asked for
	id     uint32
}

func (n *tunnel) String() string {
	if n.any {
		return n.name
	}
	return n.name + " " + strconv.FormatUint(uint64(n.id), 10)
}

// relation compares two numbers.
type relation struct {
	operator    string // > >= = < <= !=
	left, right arithmetic
}

func (n *relation) String() string {
	return n.left.String() + " " + n.operator + " " + n.right.String()
}

// arithmetic is a part of an expression that is a number of 32 bits without
// sign.
type arithmetic interface {
	fmt.Stringer
	value(g *generator) (*value, *condition, error)
}

type constant uint32

func (n constant) String() string { return strconv.FormatUint(uint64(n), 10) }

type length struct{}

func (length) String() string { return "len" }

// accessor is PROTOCOL[INDEX:SIZE]: the size bytes at index of a header.
type accessor struct {
	protocol *protocol
	offset   int
	index    arithmetic
	size     uint32 // 1, 2 or 4
}

func (n *accessor) String() string {
	if n.size == 1 {
		return fmt.Sprintf("%s[%s]", n.protocol.name, n.index)
	}
	return fmt.Sprintf("%s[%s:%d]", n.protocol.name, n.index, n.size)
}

// operation is LEFT OPERATOR RIGHT.
type operation struct {
	operator    string // + - * / % & | ^ << >>
	offset      int
	left, right arithmetic
}

func (n *operation) String() string {
	return "(" + n.left.String() + " " + n.operator + " " + n.right.String() + ")"
}

// minus is - OF.
type minus struct{ of arithmetic }

func (n *minus) String() string { return "(- " + n.of.String() + ")" }
