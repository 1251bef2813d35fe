package own

import (
	"net"
	"net/netip"
	"testing"
	"time"

	capstanv1 "capstan/proto/capstan/v1"
)

func record(client, server net.Addr, headers ...*capstanv1.Header) *capstanv1.Exchange {
	end := func(a net.Addr) *capstanv1.Endpoint {
		ap := netip.MustParseAddrPort(a.String())
		return &capstanv1.Endpoint{Address: ap.Addr().String(), Port: uint32(ap.Port())}
	}
	return &capstanv1.Exchange{Client: end(client), Server: end(server), Request: &capstanv1.HttpRequest{Headers: headers}}
}

func TestOwnConnectionsAreKnown(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := New()
	now := time.Unix(1000, 0)
	c.now = func() time.Time { return now }
	dial := c.Dialer(new(net.Dialer).DialContext)
	conn, err := dial(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	local, remote := conn.LocalAddr(), conn.RemoteAddr()
	other := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
	if !c.Has(record(local, remote)) || !c.Has(record(remote, local)) {
		t.Error("an open connection is not known")
	}
	if c.Has(record(other, remote)) || c.Has(record(local, other)) || c.Has(&capstanv1.Exchange{}) {
		t.Error("a stranger's connection is known")
	}
	if !c.Has(record(other, remote, &capstanv1.Header{Name: "Capstan-Instance", Value: c.Instance()})) {
		t.Error("behind address translation it is not known")
	}
	if c.Has(record(other, remote, &capstanv1.Header{Name: Header, Value: New().Instance()})) {
		t.Error("whoever knows the header's name can hide")
	}
	if conn.Close() != nil || conn.Close() == nil {
		t.Error("it doesn't close once")
	}
	if !c.Has(record(local, remote)) {
		t.Error("a connection that just ended is not known")
	}
	now = now.Add(linger + 1)
	if conn, err = dial(t.Context(), "tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if c.Has(record(local, remote)) && conn.LocalAddr().String() != local.String() {
		t.Error("it is known for ever")
	}
	if _, err := dial(t.Context(), "tcp", "127.0.0.1:0"); err == nil {
		t.Error("a failed connection is none")
	}
}
