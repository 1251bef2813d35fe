package netns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// addrGenModeNone keeps the kernel from giving an interface a link-local
// address (IN6_ADDR_GEN_MODE_NONE, linux/if_link.h).
const addrGenModeNone = 1

// Veth makes a veth pair with one end named aName in a and the other named
// bName in b, and sets both up. Neither end gets an address; see
// [NS.AddAddr].
func Veth(a *NS, aName string, b *NS, bName string) error {
	if err := a.addVeth(aName, b, bName); err != nil {
		return fmt.Errorf("netns: veth %s–%s: %w", aName, bName, err)
	}
	if err := errors.Join(a.setUp(aName), b.setUp(bName)); err != nil {
		return fmt.Errorf("netns: veth %s–%s: %w", aName, bName, err)
	}
	return nil
}

func (n *NS) addVeth(name string, peer *NS, peerName string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	veth := netlink.NewVeth(attrs)
	veth.PeerName = peerName
	return n.withNetlink(func(h *netlink.Handle) error {
		peer.mu.RLock()
		defer peer.mu.RUnlock()
		if peer.closed {
			return os.ErrClosed
		}
		veth.PeerNamespace = netlink.NsFd(peer.file.Fd())
		return h.LinkAdd(veth)
	})
}

func (n *NS) setUp(ifname string) error {
	return n.withLink(ifname, func(h *netlink.Handle, l netlink.Link) error {
		// EAFNOSUPPORT: the kernel or the namespace has no IPv6, so there is
		// no link-local address to prevent.
		err := h.LinkSetIP6AddrGenMode(l, addrGenModeNone)
		if err != nil && !errors.Is(err, unix.EAFNOSUPPORT) {
			return fmt.Errorf("no link-local address: %w", err)
		}
		return h.LinkSetUp(l)
	})
}

func (n *NS) setLoopbackUp() error {
	return n.withLink("lo", (*netlink.Handle).LinkSetUp)
}

// AddAddr gives an interface of n an address and the route to its prefix. IPv6
// addresses are usable at once (no duplicate address detection).
func (n *NS) AddAddr(ifname string, prefix netip.Prefix) error {
	addr := netlink.Addr{IPNet: &net.IPNet{
		IP:   prefix.Addr().AsSlice(),
		Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen()),
	}}
	if prefix.Addr().Is6() {
		addr.Flags = unix.IFA_F_NODAD
	}
	err := n.withLink(ifname, func(h *netlink.Handle, l netlink.Link) error {
		return h.AddrAdd(l, &addr)
	})
	if err != nil {
		return fmt.Errorf("netns: add address %v to %s: %w", prefix, ifname, err)
	}
	return nil
}

// Index returns the index of the interface of n with that name.
func (n *NS) Index(ifname string) (int, error) {
	index := 0
	err := n.withLink(ifname, func(_ *netlink.Handle, l netlink.Link) error {
		index = l.Attrs().Index
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("netns: index: %w", err)
	}
	return index, nil
}

// SetDown sets an interface of n down.
func (n *NS) SetDown(ifname string) error {
	err := n.withLink(ifname, (*netlink.Handle).LinkSetDown)
	if err != nil {
		return fmt.Errorf("netns: set %s down: %w", ifname, err)
	}
	return nil
}

// Delete deletes an interface of n; the other end of a veth pair goes as well.
func (n *NS) Delete(ifname string) error {
	err := n.withLink(ifname, (*netlink.Handle).LinkDel)
	if err != nil {
		return fmt.Errorf("netns: delete %s: %w", ifname, err)
	}
	return nil
}

func (n *NS) withLink(ifname string, f func(*netlink.Handle, netlink.Link) error) error {
	return n.withNetlink(func(h *netlink.Handle) error {
		l, err := h.LinkByName(ifname)
		if err != nil {
			return fmt.Errorf("interface %s: %w", ifname, err)
		}
		return f(h, l)
	})
}

// withNetlink runs f with a netlink socket of n. The socket lives for one call
// only, since it would keep the namespace alive.
func (n *NS) withNetlink(f func(*netlink.Handle) error) error {
	return n.Do(func() error {
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return fmt.Errorf("netlink: %w", err)
		}
		defer h.Close()
		return f(h)
	})
}
