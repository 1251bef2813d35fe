package tls

import (
	"net/netip"
	"testing"

	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/exchange/exchangetest"
	"capstan/pkg/flow"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// TestRolesOfJoinedConnections: without any hello, what else is in the clear tells who the
// client is, else the ports do, whatever the addresses are.
func TestRolesOfJoinedConnections(t *testing.T) {
	const data = "\x17\x03\x03\x00\x20" + "0123456789abcdef0123456789abcdef"
	message := func(kind byte, n int) string {
		b := append([]byte{0x16, 3, 3, 0, byte(4 + n), kind, 0, 0, byte(n)}, make([]byte, n)...)
		return string(b)
	}
	for _, tt := range []struct {
		name         string
		first        string // sends first
		second       string
		said         [2]string
		wantedClient string
	}{
		{"ports", "10.0.0.9:40000", "10.0.0.2:443", [2]string{data, data}, "10.0.0.9"},
		{"ports, the lower address", "10.0.0.2:40000", "10.0.0.9:443", [2]string{data, data}, "10.0.0.2"},
		{"ports, the server first", "10.0.0.2:443", "10.0.0.9:40000", [2]string{data, data}, "10.0.0.9"},
		{"the same port", "10.0.0.9:443", "10.0.0.2:443", [2]string{data, data}, "10.0.0.2"},
		{"ServerHelloDone", "10.0.0.9:40000", "10.0.0.2:443", [2]string{message(serverHelloDone, 0), data}, "10.0.0.2"},
		{"ServerKeyExchange", "10.0.0.2:7000", "10.0.0.9:6000", [2]string{message(serverKeyExchange, 20) + message(serverHelloDone, 0), data}, "10.0.0.9"},
		{"ClientKeyExchange", "10.0.0.9:6000", "10.0.0.2:7000", [2]string{message(clientKeyExchange, 33) + data, data}, "10.0.0.9"},
		{"Finished, encrypted", "10.0.0.2:443", "10.0.0.9:40000", [2]string{"\x16\x03\x03\x00\x08" + "\x10\x9a\x01\x02abcd", data}, "10.0.0.9"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			key, d := flow.NewKey(flow.EndpointFrom(netip.MustParseAddrPort(tt.first)), flow.EndpointFrom(netip.MustParseAddrPort(tt.second)))
			var records []*capstanv1.Exchange
			c := New(&reassembly.Conn{Key: key, Midstream: true}, exchange.NewRecorder(exchange.Config{Emit: exchangetest.Keep(&records)}), nil, new(Stats))
			c.Data(d, reassembly.Chunk{Bytes: []byte(tt.said[0])})
			c.Data(d.Reverse(), reassembly.Chunk{Bytes: []byte(tt.said[1])})
			c.Close(1, reassembly.CloseFIN)
			if got := records[0].Client.Address; got != tt.wantedClient {
				t.Errorf("the client is %s", got)
			}
		})
	}
}
