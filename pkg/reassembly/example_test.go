package reassembly_test

import (
	"fmt"
	"net/netip"

	"capstan/pkg/flow"
	"capstan/pkg/packet"
	"capstan/pkg/reassembly"
)

// printer prints what one connection carries.
type printer struct{ conn *reassembly.Conn }

func (p printer) sender(d flow.Direction) netip.AddrPort { return p.conn.Key.Sender(d).AddrPort() }

func (p printer) Data(d flow.Direction, c reassembly.Chunk) {
	fmt.Printf("%v: %q at %d\n", p.sender(d), c.Bytes, c.Offset)
}
func (p printer) Gap(d flow.Direction, g reassembly.Gap) {
	fmt.Printf("%v: %d bytes at %d were not captured\n", p.sender(d), g.Len, g.Offset)
}
func (p printer) End(d flow.Direction, _ int64) { fmt.Printf("%v: end\n", p.sender(d)) }
func (p printer) Close(_ int64, r reassembly.CloseReason) {
	fmt.Println("closed:", r)
}

func Example() {
	a := reassembly.New(reassembly.Config{}, func(c *reassembly.Conn, _ flow.Direction, _ []byte) reassembly.Handler { return printer{c} })

	client := flow.EndpointFrom(netip.MustParseAddrPort("192.0.2.9:40000"))
	server := flow.EndpointFrom(netip.MustParseAddrPort("192.0.2.1:80"))
	now := int64(0)
	send := func(src, dst flow.Endpoint, seq, ack uint32, flags packet.Flags, payload string) {
		s := packet.Segment{Seq: seq, Ack: ack, Flags: flags, Payload: []byte(payload)}
		s.Key, s.Dir = flow.NewKey(src, dst)
		now += 1e6
		a.Segment(&s, now)
	}
	send(client, server, 99, 0, packet.FlagSYN, "")
	send(server, client, 499, 100, packet.FlagSYN|packet.FlagACK, "")
	send(client, server, 105, 500, packet.FlagACK, "world") // out of order
	send(client, server, 100, 500, packet.FlagACK, "hello")
	// The first ten bytes of the answer are not in the capture.
	send(server, client, 510, 110, packet.FlagACK|packet.FlagFIN, "bye")
	send(client, server, 110, 514, packet.FlagACK|packet.FlagFIN, "")
	a.CloseAll(now, reassembly.CloseEndOfCapture)

	// Output:
	// 192.0.2.9:40000: "hello" at 0
	// 192.0.2.9:40000: "world" at 5
	// 192.0.2.9:40000: end
	// 192.0.2.1:80: 10 bytes at 0 were not captured
	// 192.0.2.1:80: "bye" at 10
	// 192.0.2.1:80: end
	// closed: fin
}
