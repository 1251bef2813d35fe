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

// mayHavePreamble reports whether b, which chunk ends, may be a header: the first bytes
// of the end that connected.
func (c *carrier) mayHavePreamble(d flow.Direction, b []byte, chunk *reassembly.Chunk) bool {
	return c.preamble == nil && c.tunnels == 0 && (d == c.conn.Client || !c.conn.ClientKnown) &&
		chunk.Offset+int64(len(chunk.Bytes)) == int64(len(b))
}

// takePreamble takes a header if b, which chunk ends, starts with one. Then it
// returns what of chunk is behind it; wait tells that b may be a header's start.
func (c *carrier) takePreamble(d flow.Direction, b []byte, chunk reassembly.Chunk) (rest reassembly.Chunk, wait bool) {
	h, ok, wait := proxyproto.Parse(b)
	if !ok {
		return chunk, wait
	}
	c.preamble = &preamble{d: d, len: int32(h.Len), left: int32(h.Len - (len(b) - len(chunk.Bytes)))}
	for i := range c.held {
		if held := &c.held[i]; held.d == d {
			c.preamble.tally.Data(d, &held.chunk)
		}
	}
	c.forget(d)
	c.named = exchange.NewProxied(proxiedBy(&h))
	c.count().BeginPreamble(d, c.named)
	return c.passPreamble(chunk), false
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
	f := c.preamble
	n := min(int(f.left), len(chunk.Bytes))
	f.left -= int32(n)
	header, rest := chunk, chunk
	header.Bytes = chunk.Bytes[:n]
	rest.Bytes, rest.Offset = chunk.Bytes[n:], chunk.Offset+int64(n)
	ends := len(rest.Bytes) == 0
	f.tally.Part(f.d, &header, ends)
	c.count().Preamble(&header, ends)
	return rest
}

// passPreambleGap counts what g has of the header and returns the rest of it.
func (c *carrier) passPreambleGap(g reassembly.Gap) reassembly.Gap {
	f := c.preamble
	header, n := g, min(int64(f.left), g.Len)
	header.Len = n
	f.left -= int32(n)
	f.tally.Gap(f.d, &header)
	c.count().Gap(f.d, header)
	g.Offset, g.Len = g.Offset+n, g.Len-n
	return g
}
