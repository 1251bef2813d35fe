package sockfilter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// MaxSelfEndpoints is how many endpoints a [SelfTable] holds.
const MaxSelfEndpoints = 65536

// The map of ports in use: the number of endpoints (64 bits), then one bit per
// port. It spares frames of other ports, and with no endpoint at all every
// frame, the search for their addresses.
const (
	portsCountLen = 8
	portsLen      = portsCountLen + 65536/8
)

// endpointKey is a key of the endpoints' map: the address in 16-byte form
// (zero = any address), the port as a 64-bit number in host order.
type endpointKey [24]byte

// endpointPortOffset is the offset of the port in an endpointKey.
const endpointPortOffset = 16

func keyOf(ap netip.AddrPort) endpointKey {
	var k endpointKey
	// As16 maps IPv4 to IPv6, which would tell 0.0.0.0 from ::; but a socket
	// on :: accepts IPv4 as well.
	if !ap.Addr().IsUnspecified() && !ap.Addr().Unmap().IsUnspecified() {
		a := ap.Addr().As16()
		copy(k[:], a[:])
	}
	binary.NativeEndian.PutUint64(k[endpointPortOffset:], uint64(ap.Port()))
	return k
}

// SelfTable holds local endpoints whose packets, in both directions, are not
// to be captured: those of the connections that carry the capture away, which
// would otherwise be captured in turn. It is shared by the filters of a
// daemon. All methods may be called from any goroutine.
//
// Without CAP_BPF there is no table in the kernel, and only a [ClassicFilter] can
// use it.
//
// Only the outermost IP header counts; IPv6 packets are recognised if TCP or
// UDP follows it immediately, and of a fragmented packet the first fragment.
type SelfTable struct {
	// immutable; nil without CAP_BPF
	ports     *ebpf.Map
	endpoints *ebpf.Map

	mu     sync.RWMutex // guards the maps' content and what follows
	closed bool
	uses   map[endpointKey]int // how often an endpoint was added
	byPort map[uint16]int      // endpoints in use, by port
	bitmap [portsLen]byte      // what the ports' map holds
}

// NewSelfTable makes an empty table.
func NewSelfTable() (*SelfTable, error) {
	s := &SelfTable{uses: map[endpointKey]int{}, byPort: map[uint16]int{}}
	err := s.load()
	if missing := (*PermissionError)(nil); errors.As(err, &missing) {
		return s, nil
	}
	if err != nil {
		return nil, errors.Join(err, s.ports.Close(), s.endpoints.Close())
	}
	return s, nil
}

func (s *SelfTable) load() (err error) {
	s.ports, err = ebpf.NewMap(&ebpf.MapSpec{
		Name: "capstan_ports", Type: ebpf.Array, KeySize: 4, ValueSize: portsLen, MaxEntries: 1,
	})
	if err != nil {
		return kernelError("ports of own connections", err)
	}
	s.endpoints, err = ebpf.NewMap(&ebpf.MapSpec{
		Name: "capstan_self", Type: ebpf.Hash, KeySize: uint32(len(endpointKey{})), ValueSize: 1,
		MaxEntries: MaxSelfEndpoints, Flags: unix.BPF_F_NO_PREALLOC,
	})
	if err != nil {
		return kernelError("endpoints of own connections", err)
	}
	return nil
}

// Add excludes the packets from and to ap from now on. An unspecified address
// (0.0.0.0 or ::) stands for every address of both families. An endpoint that
// is added several times has to be removed as often.
func (s *SelfTable) Add(ap netip.AddrPort) error {
	if !ap.Addr().IsValid() {
		return fmt.Errorf("sockfilter: add %v: not an address", ap)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("sockfilter: add %v: %w", ap, os.ErrClosed)
	}
	key := keyOf(ap)
	if s.uses[key] == 0 {
		if err := s.insert(key, ap.Port()); err != nil {
			return fmt.Errorf("sockfilter: add %v: %w", ap, err)
		}
	}
	s.uses[key]++
	return nil
}

// insert puts the endpoint before the port, so that frames find both or none.
func (s *SelfTable) insert(key endpointKey, port uint16) error {
	if s.endpoints == nil {
		s.byPort[port]++
		return nil
	}
	if err := s.endpoints.Update(key, uint8(1), ebpf.UpdateAny); err != nil {
		return err
	}
	s.byPort[port]++
	err := s.writePorts(port)
	if err != nil {
		s.dropPort(port)
		return errors.Join(err, s.endpoints.Delete(key))
	}
	return nil
}

// Remove undoes one Add. Removing what isn't there does nothing.
func (s *SelfTable) Remove(ap netip.AddrPort) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := keyOf(ap)
	if s.closed || s.uses[key] == 0 {
		return nil
	}
	if s.uses[key]--; s.uses[key] > 0 {
		return nil
	}
	delete(s.uses, key)
	s.dropPort(ap.Port())
	if s.endpoints == nil {
		return nil
	}
	if err := errors.Join(s.writePorts(ap.Port()), s.endpoints.Delete(key)); err != nil {
		return fmt.Errorf("sockfilter: remove %v: %w", ap, err)
	}
	return nil
}

// has reports whether a packet is from or to an endpoint of the table.
func (s *SelfTable) has(p *Packet) bool {
	src, dst, ok := p.endpoints()
	if !ok {
		return false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, ap := range [...]netip.AddrPort{src, dst} {
		if s.byPort[ap.Port()] == 0 {
			continue
		}
		if s.uses[keyOf(ap)] > 0 || s.uses[keyOf(netip.AddrPortFrom(netip.IPv6Unspecified(), ap.Port()))] > 0 {
			return true
		}
	}
	return false
}

func (s *SelfTable) dropPort(port uint16) {
	if s.byPort[port]--; s.byPort[port] == 0 {
		delete(s.byPort, port)
	}
}

// writePorts brings the ports' map up to date after a change of byPort.
func (s *SelfTable) writePorts(port uint16) error {
	bit := byte(1) << (port % 8)
	if b := &s.bitmap[portsCountLen+int(port/8)]; s.byPort[port] > 0 {
		*b |= bit
	} else {
		*b &^= bit
	}
	binary.NativeEndian.PutUint64(s.bitmap[:], uint64(len(s.byPort)))
	return s.ports.Update(uint32(0), s.bitmap[:], ebpf.UpdateAny)
}

// Close frees the table. Filters that use it go on excluding what it holds.
func (s *SelfTable) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return errors.Join(s.ports.Close(), s.endpoints.Close())
}
