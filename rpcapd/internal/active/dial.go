package active

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"

	"capstan/rpcapd/internal/config"
)

// dialTimeout bounds one attempt to one address.
const dialTimeout = 10 * time.Second

// TCP dials targets over TCP.
type TCP struct {
	IPv4Only  bool
	KeepAlive net.KeepAliveConfig
	Resolver  *net.Resolver // nil is the default one
}

// Dial tries the addresses of t one after the other, those of IPv4 first, as
// the reference does. The error tells of each.
func (d TCP) Dial(ctx context.Context, t config.Target) (net.Conn, error) {
	addresses, err := d.lookUp(ctx, t)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: dialTimeout, KeepAliveConfig: d.KeepAlive}
	var errs []error
	for _, a := range addresses {
		conn, err := dialer.DialContext(ctx, "tcp", a.String())
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func (d TCP) lookUp(ctx context.Context, t config.Target) ([]netip.AddrPort, error) {
	resolver := d.Resolver
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	port, err := resolver.LookupPort(ctx, "tcp", t.Port)
	if err != nil {
		return nil, err
	}
	network := "ip"
	if d.IPv4Only {
		network = "ip4"
	}
	hosts, err := resolver.LookupNetIP(ctx, network, t.Host)
	if err != nil {
		return nil, err
	}
	var addresses []netip.AddrPort
	for _, a := range hosts {
		addresses = append(addresses, netip.AddrPortFrom(a.Unmap(), uint16(port)))
	}
	slices.SortStableFunc(addresses, func(a, b netip.AddrPort) int { return a.Addr().BitLen() - b.Addr().BitLen() })
	return addresses, nil
}
