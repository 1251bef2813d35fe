package netns

import (
	"context"
	"fmt"
	"net"
	"net/netip"
)

// Listen is [net.Listen] inside n. The address must be literal: looking up a
// name would leave the namespace.
func (n *NS) Listen(network, address string) (net.Listener, error) {
	if err := checkLiteral(network, address); err != nil {
		return nil, fmt.Errorf("netns: listen: %w", err)
	}
	var l net.Listener
	err := n.Do(func() (err error) {
		l, err = net.Listen(network, address)
		return err
	})
	return l, err
}

// DialContext is [net.Dialer.DialContext] inside n. The address must be
// literal, as for [NS.Listen].
func (n *NS) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if err := checkLiteral(network, address); err != nil {
		return nil, fmt.Errorf("netns: dial: %w", err)
	}
	var c net.Conn
	err := n.Do(func() (err error) {
		var d net.Dialer
		c, err = d.DialContext(ctx, network, address)
		return err
	})
	return c, err
}

// checkLiteral refuses host names: package net resolves them and tries their
// addresses on goroutines of its own, which run in the process's namespace.
func checkLiteral(network, address string) error {
	switch network {
	case "unix", "unixgram", "unixpacket":
		return nil
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	if host == "" {
		return nil
	}
	_, err = netip.ParseAddr(host)
	return err
}
