// Package addrtest gives tests an address that other processes don't use.
package addrtest

import (
	"net"
	"net/netip"
	"os"
	"testing"
)

// Own returns an address of loopback that is this process's alone, for what
// listens at a port again, or will: at 127.0.0.1 the kernel may have given that
// port to somebody else meanwhile, be it as the source of a connection. It is
// made of the process's number, which has at most 22 bits, in 127.64.0.0/10:
// Linux has all of 127.0.0.0/8 on lo.
func Own() netip.Addr {
	pid := os.Getpid()
	return netip.AddrFrom4([4]byte{127, 64 | byte(pid>>16)&63, byte(pid >> 8), byte(pid)})
}

// Free returns a TCP port at [Own] where nobody listens.
func Free(t testing.TB) netip.AddrPort {
	t.Helper()
	l, err := net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(netip.AddrPortFrom(Own(), 0)))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort()
}
