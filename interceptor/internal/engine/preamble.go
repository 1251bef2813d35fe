package engine

import (
	"net/netip"

	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/l7/proxyproto"
	"capstan/pkg/flow"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// preamble is the headers of the PROXY protocol that a connection, or the tunnel inside
// of one, began with. The protocol that it carries begins behind them.
type preamble struct {
	d     flow.Direction
	count uint8 // of headers
	len   int32 // of them all
	left  int32 // bytes of the last one to come
	tally exchange.Tally
}

// maxHeaders bounds how many headers are taken, of which each but the last was sent by
// a proxy that forwards one of another proxy's.
const maxHeaders = 4

// begin takes what stands in front of the protocol, if anything does, and decides by
// what is behind it.
func (c *carrier) begin(d flow.Direction, chunk reassembly.Chunk) {
	c.enter(d, chunk.Offset)
	if c.negotiation != nil {
		c.negotiate(d, chunk)
		return
	}
	for len(chunk.Bytes) > 0 {
		whole := c.prefix(d, chunk.Bytes)
		if c.mayBeHeader(d, whole, &chunk) {
			switch h, ok, needMore := proxyproto.Parse(whole); {
			case ok:
				c.takeHeader(d, &h, len(whole)-len(chunk.Bytes))
			case needMore:
				c.count().Data(d, chunk)
				c.hold(d, chunk)
				return
			}
		}
		if !c.inPreamble(d) {
			if c.mayNegotiate(d, &chunk, whole) {
				c.negotiate(d, chunk)
			} else {
				c.decide(d, chunk, whole)
			}
			return
		}
		chunk = c.passPreamble(chunk)
	}
}

// enter notes where a tunnel begins in direction d, which has something at offset.
func (c *carrier) enter(d flow.Direction, offset int64) {
	if !c.entered[d] {
		c.entered[d] = true
		if c.tunnels > 0 {
			c.start[d] = offset
		}
	}
}

// mayBeHeader reports whether b, which chunk ends, are the first bytes of the end that
// connected, or the first behind a header of its.
func (c *carrier) mayBeHeader(d flow.Direction, b []byte, chunk *reassembly.Chunk) bool {
	start := c.start[d]
	switch p := c.preamble; {
	case p == nil && c.clientKnown && d != c.client:
		return false
	case p != nil && (p.d != d || p.left > 0 || p.count == maxHeaders):
		return false
	case p != nil:
		start += int64(p.len)
	}
	return chunk.Offset+int64(len(chunk.Bytes))-start == int64(len(b))
}

// inPreamble reports whether the next bytes of d are of a header.
func (c *carrier) inPreamble(d flow.Direction) bool {
	return c.preamble != nil && c.preamble.d == d && c.preamble.left > 0
}

// takeHeader takes h, which is next in direction d. Of it, the first n bytes are held.
func (c *carrier) takeHeader(d flow.Direction, h *proxyproto.Header, n int) {
	if c.preamble == nil {
		c.preamble = &preamble{d: d}
	}
	p := c.preamble
	p.count, p.len, p.left = p.count+1, p.len+int32(h.Len), int32(h.Len-n)
	for i := range c.held {
		if held := &c.held[i]; held.d == d {
			p.tally.Data(d, &held.chunk)
		}
	}
	c.forget(d)
	c.named = c.named.Proxied(proxiedBy(h))
	c.count().BeginPreamble(d, c.named)
}

// proxiedBy returns what h says as records tell it.
func proxiedBy(h *proxyproto.Header) *capstanv1.Proxied {
	p := &capstanv1.Proxied{Version: uint32(h.Version)}
	if h.Source.IsValid() {
		p.Source, p.Destination = endpointOf(h.Source), endpointOf(h.Destination)
	}
	return p
}

// endpointOf takes an IPv4 address in the form of an IPv6 one for what it is.
func endpointOf(e netip.AddrPort) *capstanv1.Endpoint {
	return &capstanv1.Endpoint{Address: e.Addr().Unmap().String(), Port: uint32(e.Port())}
}

// passPreamble counts what chunk has of the header and returns the rest of it.
func (c *carrier) passPreamble(chunk reassembly.Chunk) reassembly.Chunk {
	p := c.preamble
	n := min(int(p.left), len(chunk.Bytes))
	p.left -= int32(n)
	header, rest := chunk, chunk
	header.Bytes = chunk.Bytes[:n]
	rest.Bytes, rest.Offset = chunk.Bytes[n:], chunk.Offset+int64(n)
	ends := len(rest.Bytes) == 0
	p.tally.Part(p.d, &header, ends)
	c.count().Preamble(&header, ends)
	return rest
}

// passPreambleGap counts what g has of the header and returns the rest of it.
func (c *carrier) passPreambleGap(g reassembly.Gap) reassembly.Gap {
	p := c.preamble
	header, n := g, min(int64(p.left), g.Len)
	header.Len = n
	p.left -= int32(n)
	p.tally.Gap(p.d, &header)
	c.count().Gap(p.d, header)
	g.Offset, g.Len = g.Offset+n, g.Len-n
	return g
}
