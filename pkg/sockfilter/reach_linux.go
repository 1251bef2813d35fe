package sockfilter

import (
	"errors"
	"sync"

	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// A datagram that the kernel doesn't keep in one piece, and an offset in it
// beyond the first one (SKB_MAX_ALLOC, four pages).
const (
	reachLen    = 60_000
	reachOffset = 50_000
)

var reach struct {
	sync.Mutex
	known, value bool
}

// networkReach reports whether loads at SKF_NET_OFF reach all bytes of a frame,
// as they do since Linux 6.16. Before, those beyond the frame's first piece of
// memory are out of range, and which those are depends on the network device.
func networkReach() (bool, error) {
	reach.Lock()
	defer reach.Unlock()
	if reach.known {
		return reach.value, nil
	}
	value, err := probeReach()
	reach.known, reach.value = err == nil, value
	return value, err
}

// probeReach tries it on a datagram between two sockets of our own, which
// "has" its network header at offset 0.
func probeReach() (_ bool, err error) {
	prog, err := loadProgram("capstan_probe", asm.Instructions{
		asm.Mov.Reg(regCtx, asm.R1),
		asm.LoadAbs(int32(int64(offsetNetwork+reachOffset)-1<<32), asm.Byte),
		asm.Mov.Imm(asm.R0, 1),
		asm.Return(),
	})
	if err != nil {
		return false, err
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return false, errors.Join(err, prog.Close())
	}
	defer func() { err = errors.Join(err, unix.Close(fds[0]), unix.Close(fds[1]), prog.Close()) }()
	if err := unix.SetsockoptInt(fds[1], unix.SOL_SOCKET, unix.SO_ATTACH_BPF, prog.FD()); err != nil {
		return false, err
	}
	if _, err := unix.Write(fds[0], make([]byte, reachLen)); err != nil {
		return false, err
	}
	n, err := unix.Read(fds[1], make([]byte, 2))
	if errors.Is(err, unix.EAGAIN) {
		return false, nil
	}
	return n == 1, err
}
