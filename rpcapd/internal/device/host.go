//go:build linux

package device

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"capstan/pkg/afpacket"
	"capstan/pkg/capture"
	"capstan/pkg/rpcap"
	"capstan/pkg/sockfilter"
	"capstan/rpcapd/internal/pump"
)

// Host opens devices of this host.
type Host struct {
	RingMiB int                   // size of each capture's ring, at least 2
	Self    *sockfilter.SelfTable // own data connections, left out of captures unless asked for
}

// Options are what a client chooses in a STARTCAP.
type Options struct {
	SnapLen      int
	BlockTimeout time.Duration
	Promiscuous  bool
}

// blockLen holds a super-frame of 512 KiB whole.
const blockLen = 1 << 20

// target is a device resolved to what the kernel knows.
type target struct {
	index    int // 0: all interfaces
	linkType capture.LinkType
}

// resolve finds the device called name.
func resolve(name string) (target, error) {
	if name == AnyName {
		return target{linkType: capture.LinkTypeLinuxSLL}, nil
	}
	noDevice := &Error{Device: name, Status: statusNoDevice, Detail: statusNoDevice, Err: unix.ENODEV}
	if name == "" || len(name) >= unix.IFNAMSIZ || strings.ContainsRune(name, 0) {
		return target{}, noDevice
	}
	link, err := netlink.LinkByName(name)
	if missing := (netlink.LinkNotFoundError{}); errors.As(err, &missing) {
		return target{}, noDevice
	}
	if err != nil {
		return target{}, &Error{Device: name, Status: "Can't look up the interface", Detail: err.Error(), Err: err}
	}
	attrs := link.Attrs()
	if attrs.Name != name { // found by an alternative name, which libpcap doesn't know
		return target{}, noDevice
	}
	if attrs.RawFlags&unix.IFF_UP == 0 {
		return target{}, &Error{Device: name, Status: statusNotUp, Err: unix.ENETDOWN}
	}
	return target{index: attrs.Index, linkType: linkTypeOf(attrs.EncapType)}, nil
}

// Probe tells the link type of a device and whether it can be opened. The
// error is an [*Error].
func (h *Host) Probe(d rpcap.Device) (capture.LinkType, error) {
	t, err := resolve(d.Name)
	if err != nil {
		return 0, err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, openError(d.Name, err)
	}
	unix.Close(fd)
	return t.linkType, nil
}

// Open opens ring and filter on a device; nothing passes until the filter is
// set. The error is an [*Error].
func (h *Host) Open(d rpcap.Device, o Options) (pump.Input, error) {
	t, err := resolve(d.Name)
	if err != nil {
		return pump.Input{}, err
	}
	cfg := sockfilter.Config{SnapLen: o.SnapLen, Direction: d.Direction, LoopbackInterface: loopback(d.Direction)}
	if t.linkType == capture.LinkTypeLinuxSLL {
		cfg.View = sockfilter.ViewCooked
	}
	if !d.IncludeSelf {
		cfg.Self = h.Self
	}
	filter, err := sockfilter.NewFilter(cfg)
	if err != nil {
		return pump.Input{}, openError(d.Name, err)
	}
	ring, err := afpacket.Open(afpacket.Config{
		Interface:    t.index,
		BlockLen:     blockLen,
		BlockCount:   h.RingMiB,
		BlockTimeout: o.BlockTimeout,
		Promiscuous:  o.Promiscuous,
	}, filter.Attach)
	if err != nil {
		filter.Close()
		return pump.Input{}, openError(d.Name, err)
	}
	return pump.Input{
		Source:           newRingSource(ring),
		Filter:           filter,
		Layout:           pump.LayoutOf(t.linkType),
		InterfaceDropped: interfaceDrops(t.index),
	}, nil
}

// loopback returns the interface whose outgoing copies are left out, since it
// shows each frame twice. Whoever asks for one direction gets one copy anyway.
func loopback(d capture.Direction) int {
	if d == capture.DirectionOut {
		return 0
	}
	const fallback = 1 // the index of lo in every network namespace
	link, err := netlink.LinkByName("lo")
	if err != nil {
		return fallback
	}
	return link.Attrs().Index
}

// openError turns an error of the kernel into the reference's text.
func openError(name string, err error) error {
	switch {
	case errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES):
		detail := detailPermission
		if permission := (*afpacket.PermissionError)(nil); !errors.As(err, &permission) && !errors.Is(err, unix.EPERM) {
			detail = err.Error()
		}
		return &Error{Device: name, Status: statusPermission, Detail: detail, Err: err}
	case errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO):
		return &Error{Device: name, Status: statusNoDevice, Detail: statusNoDevice, Err: err}
	case errors.Is(err, unix.ENETDOWN):
		return &Error{Device: name, Status: statusNotUp, Err: err}
	}
	return &Error{Device: name, Status: fmt.Sprintf("Can't open the device: %v", err), Err: err}
}

// interfaceDrops returns a function that tells how many frames the interface
// has lost since now: rx_missed_errors and rx_fifo_errors, as libpcap counts
// (linux_if_drops in pcap-linux.c). "any" has none of its own. The function is
// for one goroutine at a time.
func interfaceDrops(index int) func() uint64 {
	if index == 0 {
		return nil
	}
	start := readInterfaceDrops(index)
	last := uint64(0)
	return func() uint64 {
		if now := readInterfaceDrops(index); now > start {
			last = max(last, now-start) // an interface that vanished keeps its count
		}
		return last
	}
}

func readInterfaceDrops(index int) uint64 {
	link, err := netlink.LinkByIndex(index)
	if err != nil || link.Attrs().Statistics == nil {
		return 0
	}
	return link.Attrs().Statistics.RxMissedErrors + link.Attrs().Statistics.RxFifoErrors
}
