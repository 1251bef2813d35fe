//go:build linux

package device

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"capstan/pkg/rpcap"
)

// The pseudo device that captures on all interfaces.
const (
	AnyName        = "any"
	anyDescription = "Pseudo-device that captures on all interfaces"
)

// Interfaces lists the interfaces in the order in which libpcap lists them,
// since users address them by number. Deviation: the reference adds pseudo
// devices for Bluetooth, USB, netfilter and D-Bus, which can't be opened here.
func (h *Host) Interfaces() ([]rpcap.Interface, error) {
	links, err := netlink.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	addresses, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	list := make([]rpcap.Interface, 0, len(links)+1)
	for _, link := range links {
		attrs := link.Attrs()
		i := rpcap.Interface{Name: attrs.Name, Flags: interfaceFlags(attrs)}
		for _, a := range addresses {
			if a.LinkIndex == attrs.Index && a.IPNet != nil {
				i.Addresses = append(i.Addresses, interfaceAddress(attrs, a))
			}
		}
		list = append(list, i)
	}
	list = append(list, rpcap.Interface{
		Name: AnyName, Description: anyDescription,
		Flags: rpcap.InterfaceUp | rpcap.InterfaceRunning | rpcap.InterfaceNotApplicable,
	})
	sortInterfaces(list)
	return list, nil
}

// sortInterfaces orders as libpcap's get_figure_of_merit does: running ones
// first, then up, connected, not loopback, and "any" behind its peers.
func sortInterfaces(list []rpcap.Interface) {
	slices.SortStableFunc(list, func(a, b rpcap.Interface) int { return cmp.Compare(demerit(&a), demerit(&b)) })
}

func demerit(i *rpcap.Interface) (n uint32) {
	if i.Flags&rpcap.InterfaceRunning == 0 {
		n |= 1 << 31
	}
	if i.Flags&rpcap.InterfaceUp == 0 {
		n |= 1 << 30
	}
	if i.Flags&rpcap.InterfaceWireless == 0 && i.Flags&rpcap.InterfaceConnection == rpcap.InterfaceDisconnected {
		n |= 1 << 29
	}
	if i.Flags&rpcap.InterfaceLoopback != 0 {
		n |= 1 << 28
	}
	if i.Name == AnyName {
		n |= 1 << 27
	}
	return n
}

func interfaceFlags(attrs *netlink.LinkAttrs) (f rpcap.InterfaceFlags) {
	if attrs.RawFlags&unix.IFF_UP != 0 {
		f |= rpcap.InterfaceUp
	}
	if attrs.RawFlags&unix.IFF_RUNNING != 0 {
		f |= rpcap.InterfaceRunning
	}
	if attrs.RawFlags&unix.IFF_LOOPBACK != 0 {
		return f | rpcap.InterfaceLoopback | rpcap.InterfaceNotApplicable
	}
	switch attrs.EncapType {
	case "ieee802.11", "ieee802.11/prism", "ieee802.11/radiotap":
		f |= rpcap.InterfaceWireless
	}
	return f | connection(attrs.Name)
}

// ethtoolValue is struct ethtool_value, ifreqData a struct ifreq that points to it.
type (
	ethtoolValue struct{ cmd, data uint32 }
	ifreqData    struct {
		name [unix.IFNAMSIZ]byte
		data *ethtoolValue
		_    [16]byte // to the size of the largest member of ifr_ifru
	}
)

// connection asks the driver for the state of the link, as libpcap's
// get_if_flags does: a driver that can't tell has none to tell of.
func connection(name string) rpcap.InterfaceFlags {
	if len(name) >= unix.IFNAMSIZ {
		return 0
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	value := ethtoolValue{cmd: unix.ETHTOOL_GLINK}
	request := ifreqData{data: &value}
	copy(request.name[:], name)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
	switch {
	case errno == unix.EOPNOTSUPP || errno == unix.EINVAL:
		return rpcap.InterfaceNotApplicable
	case errno != 0:
		return 0
	case value.data != 0:
		return rpcap.InterfaceConnected
	default:
		return rpcap.InterfaceDisconnected
	}
}

// interfaceAddress makes of a what libpcap makes of glibc's getifaddrs: there
// an IPv4 address without a broadcast address has itself in its place.
func interfaceAddress(attrs *netlink.LinkAttrs, a netlink.Addr) rpcap.InterfaceAddress {
	prefix := a.IPNet
	other := a.IP // what the kernel calls IFA_ADDRESS
	if a.Peer != nil {
		prefix, other = a.Peer, a.Peer.IP
	}
	r := rpcap.InterfaceAddress{Addr: address(a.IP, attrs.Index), Netmask: address(net.IP(prefix.Mask), 0)}
	isV4 := a.IP.To4() != nil
	if attrs.RawFlags&unix.IFF_BROADCAST != 0 && isV4 {
		if r.Broadcast = address(a.Broadcast, 0); !r.Broadcast.IsValid() {
			r.Broadcast = address(other, 0)
		}
	}
	if attrs.RawFlags&unix.IFF_POINTOPOINT != 0 && (isV4 || a.Peer != nil) {
		r.Destination = address(other, attrs.Index)
	}
	return r
}

// address converts ip; a link-local IPv6 address gets the interface's index as
// its zone, which is where package rpcap takes the scope from.
func address(ip net.IP, index int) netip.Addr {
	a, ok := netip.AddrFromSlice(ip)
	if !ok {
		return netip.Addr{}
	}
	if a = a.Unmap(); a.Is6() && index != 0 && (a.IsLinkLocalUnicast() || a.IsLinkLocalMulticast()) {
		a = a.WithZone(strconv.Itoa(index))
	}
	return a
}
