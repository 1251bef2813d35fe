//go:build linux

package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"capstan/pkg/unixsock"
	"capstan/rpcapd/internal/dataport"
)

// keepAlive finds peers that are gone without a word within 90 seconds.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 6}

// ErrNoListener is returned by Listen when no address could be listened on.
//
//lint:ignore ST1005 scripts look for the reference's text
var ErrNoListener = errors.New("Can't listen on any address")

// Listen opens the sockets, or takes those that were passed instead. A TCP
// address that can't be listened on is a warning as long as there is another.
func (d *Daemon) Listen(ctx context.Context, passed []net.Listener) error {
	if len(passed) > 0 {
		return d.take(passed)
	}
	if d.cfg.UnixSocket != "" {
		l, err := unixsock.ListenReplacing(d.cfg.UnixSocket)
		if err != nil {
			return fmt.Errorf("unix socket: %w", err)
		}
		d.add(l)
	}
	if !d.cfg.TCP {
		return nil
	}
	addresses, err := d.addresses(ctx)
	if err != nil {
		d.Close()
		return err
	}
	found := false
	for _, a := range addresses {
		network := "tcp4"
		if a.Addr().Is6() {
			network = "tcp6" // sets IPV6_V6ONLY
		}
		lc := net.ListenConfig{KeepAliveConfig: keepAlive}
		l, err := lc.Listen(ctx, network, a.String())
		if err != nil {
			d.log.Warn(fmt.Sprintf("Can't listen on socket for %v:%d", a.Addr(), a.Port()), "err", err)
			continue
		}
		found = true
		d.add(l)
	}
	if !found {
		d.Close()
		return ErrNoListener
	}
	d.warnOpen()
	return nil
}

// take listens on what somebody else has opened. Of unix sockets it needs the
// path, beside which it puts those for data.
func (d *Daemon) take(passed []net.Listener) error {
	for _, l := range passed {
		if a, ok := l.Addr().(*net.UnixAddr); ok && !strings.HasPrefix(a.Name, "/") {
			for _, l := range passed {
				l.Close()
			}
			return fmt.Errorf("unix socket %q is no absolute path", a.Name)
		}
	}
	for _, l := range passed {
		d.add(l)
	}
	d.warnOpen()
	return nil
}

func (d *Daemon) add(l net.Listener) {
	d.listeners = append(d.listeners, l)
	d.log.Info("listening", "network", l.Addr().Network(), "address", l.Addr().String())
}

// addresses are all that the address and port of the configuration stand for.
// Deviation: if they stand for nothing, the reference exits with 0 and tells
// why only with -D.
func (d *Daemon) addresses(ctx context.Context) ([]netip.AddrPort, error) {
	port, err := net.DefaultResolver.LookupPort(ctx, "tcp", d.cfg.Port)
	if err != nil {
		return nil, fmt.Errorf("port %q: %w", d.cfg.Port, err)
	}
	hosts := []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	if d.cfg.Address != "" {
		if hosts, err = net.DefaultResolver.LookupNetIP(ctx, "ip", d.cfg.Address); err != nil {
			return nil, fmt.Errorf("address %q: %w", d.cfg.Address, err)
		}
	}
	var addresses []netip.AddrPort
	for _, a := range hosts {
		if a = a.Unmap(); a.Is4() || !d.cfg.IPv4Only {
			addresses = append(addresses, netip.AddrPortFrom(a, uint16(port)))
		}
	}
	return addresses, nil
}

// UseDataPort makes all captures take their data connections from the port
// that the configuration has for that, if any. It is called before Serve.
func (d *Daemon) UseDataPort(ctx context.Context) error {
	if d.cfg.DataPort == "" {
		return nil
	}
	number, err := net.DefaultResolver.LookupPort(ctx, "tcp", d.cfg.DataPort)
	if err != nil {
		return fmt.Errorf("data port %q: %w", d.cfg.DataPort, err)
	}
	if number == 0 {
		return nil // as if there was no option
	}
	d.dataPort = dataport.New(dataport.Config{
		Number: uint16(number), Shared: d.cfg.Inetd, Self: d.self, Refused: func() { d.counters.DataRefused.Add(1) },
	})
	return nil
}

// warnOpen says loudly that everybody may capture.
func (d *Daemon) warnOpen() {
	if settings := d.settings.Load(); !settings.NullAuth || len(settings.Allow.Entries) > 0 {
		return
	}
	for _, l := range d.listeners {
		a, ok := l.Addr().(*net.TCPAddr)
		if ok && !a.IP.IsLoopback() {
			d.log.Warn("ANYONE WHO REACHES THIS PORT CAN READ THE TRAFFIC OF THIS HOST: -n accepts clients without authentication"+
				" on an address beyond loopback; use -b, -l or --unix-socket to restrict it", "address", net.JoinHostPort(a.IP.String(), strconv.Itoa(a.Port)))
		}
	}
}

// Close closes the listeners, which Serve does by itself in the end: it is for
// those who can't get that far. A unix socket's file goes with its listener.
func (d *Daemon) Close() {
	for _, l := range d.listeners {
		l.Close()
	}
}
