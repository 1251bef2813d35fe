package engine

import (
	"net/netip"

	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/l7/proxyproto"
	"capstan/pkg/flow"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// preamble is the header of the PROXY protocol that a connection began with. The
// protocol that the connection carries begins behind it.
type preamble struct {
	d     flow.Direction
	len   int32
	left  int32 // bytes of it to come
	tally exchange.Tally
}

// begin takes what stands in front of the protocol, if anything does, and decides by
// what is behind it.
func (c *carrier) begin(d flow.Direction, chunk reassembly.Chunk) {
	whole := c.prefix(d, chunk.Bytes)
	if c.mayHavePreamble(d, whole, &chunk) {
		switch h, ok, needMore := proxyproto.Parse(whole); {
		case ok:
			c.takePreamble(d, &h, len(whole)-len(chunk.Bytes))
		case needMore:
			c.count().Data(d, chunk)
			c.hold(d, chunk)
			return
		}
	}
	if c.inPreamble(d) {
		chunk = c.passPreamble(chunk)
		whole = chunk.Bytes
	}
	if len(chunk.Bytes) > 0 {
		c.decide(d, chunk, whole)
	}
}

// mayHavePreamble reports whether b, which chunk ends, are the first bytes of the end
// that connected.
func (c *carrier) mayHavePreamble(d flow.Direction, b []byte, chunk *reassembly.Chunk) bool {
	return c.preamble == nil && c.tunnels == 0 && (d == c.conn.Client || !c.conn.ClientKnown) &&
		chunk.Offset+int64(len(chunk.Bytes)) == int64(len(b))
}

// inPreamble reports whether the next bytes of d are of the header.
func (c *carrier) inPreamble(d flow.Direction) bool {
	return c.preamble != nil && c.preamble.d == d && c.preamble.left > 0
}

// takePreamble takes h, the header that direction d starts with. Of it, the first n
// bytes are held.
func (c *carrier) takePreamble(d flow.Direction, h *proxyproto.Header, n int) {
	c.preamble = &preamble{d: d, len: int32(h.Len), left: int32(h.Len - n)}
	for i := range c.held {
		if held := &c.held[i]; held.d == d {
			c.preamble.tally.Data(d, &held.chunk)
		}
	}
	c.forget(d)
	c.named = exchange.NewProxied(proxiedBy(h))
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
