package afpacket

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// openSocket makes the socket and its ring. The order leaves no moment in
// which an unfiltered frame could enter the ring: with protocol 0 the socket
// receives nothing until bind names one.
func openSocket(cfg *Config, attach func(fd int) error) (fd int, mem []byte, err error) {
	fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, nil, socketError(err)
	}
	defer func() {
		if err != nil {
			if mem != nil {
				unix.Munmap(mem)
			}
			unix.Close(fd)
			fd, mem = -1, nil
		}
	}()
	if attach != nil {
		if err := attach(fd); err != nil {
			return fd, nil, fmt.Errorf("afpacket: attach filter: %w", err)
		}
	}
	if mem, err = mapRing(fd, cfg); err != nil {
		return fd, nil, err
	}
	return fd, mem, bind(fd, cfg.Interface)
}

func socketError(err error) error {
	if errors.Is(err, unix.EPERM) {
		return &PermissionError{Capability: "CAP_NET_RAW", Err: err}
	}
	return fmt.Errorf("afpacket: socket: %w", err)
}

func mapRing(fd int, cfg *Config) ([]byte, error) {
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3); err != nil {
		return nil, fmt.Errorf("afpacket: TPACKET_V3: %w", err)
	}
	req := unix.TpacketReq3{
		Block_size: uint32(cfg.BlockLen),
		Block_nr:   uint32(cfg.BlockCount),
		// Version 3 packs frames of any length; the kernel only wants these
		// two to be consistent.
		Frame_size:     uint32(cfg.BlockLen),
		Frame_nr:       uint32(cfg.BlockCount),
		Retire_blk_tov: cfg.timeoutMillis(),
	}
	if err := unix.SetsockoptTpacketReq3(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &req); err != nil {
		return nil, fmt.Errorf("afpacket: ring of %d blocks of %d bytes: %w", cfg.BlockCount, cfg.BlockLen, err)
	}
	mem, err := unix.Mmap(fd, 0, cfg.BlockLen*cfg.BlockCount, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("afpacket: mmap ring: %w", err)
	}
	return mem, nil
}

// bind starts the capture. An interface that is down binds, but the kernel
// leaves ENETDOWN on the socket, as it does later when one goes down.
func bind(fd, ifindex int) error {
	sa := unix.SockaddrLinklayer{Protocol: bigEndian(unix.ETH_P_ALL), Ifindex: ifindex}
	err := unix.Bind(fd, &sa)
	if err == nil {
		err = pendingError(fd)
	}
	switch {
	case err == nil:
		return nil
	case isGone(err):
		return &InterfaceGoneError{Interface: ifindex, Err: err}
	default:
		return fmt.Errorf("afpacket: bind to interface %d: %w", ifindex, err)
	}
}

func isGone(err error) bool {
	return errors.Is(err, unix.ENETDOWN) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO)
}

func joinPromiscuous(fd, ifindex int) error {
	return unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &unix.PacketMreq{
		Ifindex: int32(ifindex),
		Type:    unix.PACKET_MR_PROMISC,
	})
}

// bigEndian turns a 16-bit number from host to network order or back.
func bigEndian(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}
