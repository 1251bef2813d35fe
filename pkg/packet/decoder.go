// Package packet decodes a captured frame down to its TCP segment by fixed
// offsets, without allocation.
//
// Every length is checked against the bytes at hand before it is used, and
// against the length of the packet that encloses it.
//
// # What is decoded
//
// Links: Ethernet (II, 802.3 with SNAP), Linux cooked capture v1 and v2, NFLOG,
// BSD loopback in both byte orders, raw IP, PPP, PPPoE, Cisco HDLC, FDDI, OpenBSD's
// packet filter log, and 802.11 that is not encrypted, bare or behind a radiotap,
// Prism, AVS or PPI header. Between link and IP: VLAN tags (802.1Q, 802.1ad), MPLS
// labels, PPPoE sessions.
//
// IPv4 with options, IPv6 with extension headers, super-frames without a length
// (TSO, BIG TCP) and jumbograms. Fragments are [OutcomeFragment]; package defrag
// puts them together for [Decoder.DecodeDatagram].
//
// Tunnels: IPv4 and IPv6 in either, GRE (RFC 2784, 2890) with IP, MPLS, bridged
// or mirrored (ERSPAN) Ethernet inside, VXLAN (RFC 7348) on UDP port 4789 and on Linux's
// former default 8472, also with the generic protocol extension (port 4790), Geneve (RFC 8926)
// on 6081, GTP-U on 2152, GRE in UDP on 4754 (RFC 8086), PPP in L2TP (RFC 2661) on 1701, and 802.11 in GRE. The segment is that of the
// innermost packet. At most [MaxTunnels] may be nested.
//
// # What is not judged
//
// Checksums are accepted whatever they are unless [Config] says otherwise: about
// every packet that a host sends itself is captured before the network card
// fills them in.
package packet

import (
	"capstan/pkg/capture"
)

// Config is the policy of a [Decoder]. The zero value accepts everything and
// takes equal addresses and ports for one connection wherever they are seen.
type Config struct {
	Checksums ChecksumPolicy
	// Scoped makes VLAN identifiers, VXLAN and Geneve network identifiers and
	// GRE keys part of the connection's key. Without it a packet that is seen
	// with and without its tag or tunnel is one packet.
	Scoped bool
}

// Decoder decodes frames. It keeps nothing of them; it is not safe for
// concurrent use.
type Decoder struct {
	cfg   Config
	stats Stats
	// Fragment is what the last frame was if its outcome was OutcomeFragment.
	// Its payload aliases the frame's data.
	Fragment Fragment
}

// Stats counts what a decoder has judged.
type Stats struct {
	Checksums [NumChecksums]uint64 // of TCP packets; all 0 under ChecksumIgnore
	Tunnelled uint64               // TCP segments that were inside of a tunnel
}

// Add adds the counters of o.
func (s *Stats) Add(o Stats) {
	for i, n := range o.Checksums {
		s.Checksums[i] += n
	}
	s.Tunnelled += o.Tunnelled
}

// NewDecoder returns a decoder of policy cfg.
func NewDecoder(cfg Config) *Decoder { return &Decoder{cfg: cfg} }

// Stats returns the counters as they stand.
func (d *Decoder) Stats() Stats { return d.stats }

// Decode fills s from f. Only [OutcomeTCP] leaves s with a meaning; after any
// other outcome its content is unspecified.
//
// Next: reassembly.Assembler.Segment.
func (d *Decoder) Decode(f *capture.Frame, s *Segment) Outcome {
	if d.cfg.Checksums == ChecksumIgnore && s.usual(f, d.cfg.Scoped) {
		return OutcomeTCP
	}
	return d.walk(f, s)
}

// walk decodes f header by header.
func (d *Decoder) walk(f *capture.Frame, s *Segment) Outcome {
	// The wire length is at least what was captured, whatever the source claims.
	w := walk{dec: d, seg: s, data: f.Data, end: max(f.Len, len(f.Data))}
	s.Vantage = f.Interface
	return w.link(f)
}

// DecodeDatagram goes on with a datagram whose fragments are complete.
func (d *Decoder) DecodeDatagram(g *Datagram, s *Segment) Outcome {
	w := walk{dec: d, seg: s, data: g.Payload, end: len(g.Payload), scope: g.Scope, depth: int(g.Depth)}
	w.src, w.dst = address6(g.Src[:]), address6(g.Dst[:])
	s.ID, s.Vantage = uint16(g.ID), g.Vantage
	return w.transport(0, g.Protocol)
}

// MaxTunnels is how many tunnels may be nested in a frame.
const MaxTunnels = 4

// walk is the way through the headers of one frame.
type walk struct {
	dec  *Decoder
	seg  *Segment
	data []byte // cut to the innermost IP packet known
	end  int    // offset of that packet's end, or the frame's, on the wire

	src, dst address // of the innermost IP header
	scope    uint32  // folded from the networks passed
	depth    int     // tunnels entered
	underway bool    // the destination address is not the final one
}

// limit sets the end of the IP packet and cuts padding behind it.
func (w *walk) limit(end int) {
	w.end = end
	if end < len(w.data) {
		w.data = w.data[:end:end]
	}
}

// lacks tells why the bytes up to need are not there: the packet is too short
// for the header it claims to hold, or the snap length cut it.
func (w *walk) lacks(need int) Outcome {
	if need > w.end {
		return OutcomeMalformed
	}
	return OutcomeTruncated
}

// notIP tells that no IP packet follows.
func (w *walk) notIP() Outcome {
	if w.depth > 0 {
		return OutcomeNotTCP // the packet around it is IP
	}
	return OutcomeNotIP
}

// network folds the identifier of a virtual network into the scope.
func (w *walk) network(kind, id uint32) {
	if w.dec.cfg.Scoped {
		w.scope = (w.scope^(kind<<24|id))*0x9e3779b1 + 1
	}
}

// The kinds of identifiers, so that equal numbers differ.
const (
	networkVLAN = 1 + iota
	networkVNI
	networkGRE
)
