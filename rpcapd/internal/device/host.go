//go:build linux

package device

import (
	"errors"
	"fmt"
	"sync/atomic"
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

	rings atomic.Int64 // that are open
}

// Rings returns how many rings are open, and how many bytes of memory they take together.
func (h *Host) Rings() (n int, bytes int64) {
	open := h.rings.Load()
	return int(open), open * int64(h.RingMiB) * blockLen
}

// Options are what a client chooses in a STARTCAP.
type Options struct {
	SnapLen      int
	BlockTimeout time.Duration
	Promiscuous  bool
}

// blockLen holds a super-frame of 512 KiB whole.
const blockLen = 1 << 20

// gatherBlocks are looked at together, if they are an eighth of the ring at most:
// more gain little (docs/performance.md).
const gatherBlocks = 4

// Probe tells the link type of a device and whether it can be opened. The
// error is an [*Error], or says what is wrong with a parameter.
func (h *Host) Probe(d rpcap.Device) (capture.LinkType, error) {
	t, err := resolve(d)
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
// set. The error is as of [Host.Probe].
func (h *Host) Open(d rpcap.Device, o Options) (pump.Input, error) {
	t, err := resolve(d)
	if err != nil {
		return pump.Input{}, err
	}
	chosen, err := newSelection(d)
	if err != nil {
		return pump.Input{}, openError(d.Name, err)
	}
	filter, own, err := openFilter(h.rules(t, d, o, chosen))
	if err != nil {
		chosen.Close()
		return pump.Input{}, openError(d.Name, err)
	}
	ring, err := afpacket.Open(afpacket.Config{
		Interface:    t.index,
		BlockLen:     blockLen,
		BlockCount:   h.RingMiB,
		BlockTimeout: o.BlockTimeout,
		Gather:       min(h.RingMiB/8, gatherBlocks),
		Promiscuous:  o.Promiscuous,
	}, filter.Attach)
	if err != nil {
		chosen.Close()
		filter.Close()
		return pump.Input{}, openError(d.Name, err)
	}
	in := pump.Input{
		Source:           newRingSource(ring, chosen, &h.rings),
		Filter:           filter,
		Layout:           pump.LayoutOf(t.linkType),
		Own:              own,
		InterfaceDropped: interfaceDrops(t.index),
	}
	if chosen != nil {
		in.Wants = chosen.watcher.Wants
	}
	return in, nil
}

// filter is a filter for packet sockets.
type filter interface {
	pump.Filter
	Attach(fd int) error
}

// openFilter loads an eBPF filter or, without CAP_BPF, a classic one, which
// leaves our own connections to own.
func openFilter(cfg sockfilter.Config) (f filter, own func(*sockfilter.Packet) bool, err error) {
	loaded, err := sockfilter.NewFilter(cfg)
	if err == nil {
		return loaded, nil, nil
	}
	if missing := (*sockfilter.PermissionError)(nil); !errors.As(err, &missing) {
		return nil, nil, err
	}
	classic, err := sockfilter.NewClassicFilter(cfg)
	if err != nil {
		return nil, nil, err
	}
	if cfg.Self != nil {
		own = classic.Own
	}
	return classic, own, nil
}

// rules returns what the kernel's filter does beside the client's program.
func (h *Host) rules(t target, d rpcap.Device, o Options, chosen *selection) sockfilter.Config {
	cfg := sockfilter.Config{
		SnapLen: o.SnapLen, Direction: d.Direction, LoopbackInterface: loopback(d.Direction), View: pump.LayoutOf(t.linkType).View(),
		Shard: sockfilter.Shard{Index: d.Shard, Count: d.Shards}, Flows: d.Flows, Cutoff: d.Cutoff, Dedup: d.Dedup,
	}
	if !d.IncludeSelf {
		cfg.Self = h.Self
	}
	if chosen != nil {
		cfg.Interfaces = chosen.table
	}
	return cfg
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
	var filter *sockfilter.PermissionError
	switch {
	case errors.As(err, &filter):
		return &Error{Device: name, Status: statusPermission, Detail: fmt.Sprintf("%s may be required - %v", filter.Capability, filter.Err), Err: err}
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
