package wire

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// socket is a packet socket that sends batches.
type socket struct {
	fd       int
	messages [maxBatch]message
	vectors  [maxBatch]unix.Iovec
}

// message is struct mmsghdr (sendmmsg(2)).
type message struct {
	header unix.Msghdr
	sent   uint32
}

const sendBufferLen = 4 << 20

// openSocket opens a socket that only sends: its protocol is 0.
func openSocket(ifindex int, queue bool) (*socket, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if errors.Is(err, unix.EPERM) {
		return nil, fmt.Errorf("wire: sending frames needs CAP_NET_RAW: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("wire: packet socket: %w", err)
	}
	s := &socket{fd: fd}
	if err := s.prepare(ifindex, queue); err != nil {
		return nil, errors.Join(err, s.close())
	}
	for i := range s.messages {
		s.messages[i].header.Iov = &s.vectors[i]
		s.messages[i].header.SetIovlen(1)
	}
	return s, nil
}

func (s *socket) prepare(ifindex int, queue bool) error {
	if !queue {
		if err := unix.SetsockoptInt(s.fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1); err != nil {
			return fmt.Errorf("wire: PACKET_QDISC_BYPASS: %w", err)
		}
	}
	// More than the default where we may: then a slow interface makes the
	// sender wait less often. Without the capability the default is enough.
	_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBufferLen)
	// A full buffer must not keep the sender from noticing that it is to end.
	timeout := unix.NsecToTimeval(int64(nap))
	if err := unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &timeout); err != nil {
		return fmt.Errorf("wire: SO_SNDTIMEO: %w", err)
	}
	if err := unix.Bind(s.fd, &unix.SockaddrLinklayer{Ifindex: ifindex}); err != nil {
		return fmt.Errorf("wire: bind to interface %d: %w", ifindex, err)
	}
	return nil
}

// put makes frame, which is not empty, the i-th of the batch.
func (s *socket) put(i int, frame []byte) {
	s.vectors[i].Base = &frame[0]
	s.vectors[i].SetLen(len(frame))
}

// send sends frames from..to-1 of the batch and returns how many the kernel
// took before it refused one.
func (s *socket) send(from, to int) (int, error) {
	n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(s.fd),
		uintptr(unsafe.Pointer(&s.messages[from])), uintptr(to-from), 0, 0, 0)
	runtime.KeepAlive(s)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

func (s *socket) close() error {
	if err := unix.Close(s.fd); err != nil {
		return fmt.Errorf("wire: close: %w", err)
	}
	return nil
}
