package session

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/net/bpf"

	"capstan/pkg/capture"
	"capstan/pkg/rpcap"
	"capstan/pkg/sockfilter"
	"capstan/rpcapd/internal/auth"
	"capstan/rpcapd/internal/policy"
)

// Access decides who a client is and what it may do; access.Guard is the real
// one.
type Access interface {
	// Login holds a password against the user's account, wipes it, and returns
	// what the user may do. The error is an [*auth.LoginError]. It waits until
	// ctx ends. The zero Addr is a peer on a unix socket.
	Login(ctx context.Context, peer netip.Addr, user string, password []byte) (policy.Rights, error)
	// Anonymous returns what clients may do that NullAuth lets in.
	Anonymous() policy.Rights
	// ClearPassword is told of each password that came without TLS.
	ClearPassword(peer netip.Addr)
}

// noUsers is the Access of a daemon that knows no users.
type noUsers struct{}

func (noUsers) Login(_ context.Context, _ netip.Addr, _ string, password []byte) (policy.Rights, error) {
	clear(password)
	return policy.Rights{}, &auth.LoginError{Refusal: auth.RefusedUnknownUser}
}

func (noUsers) Anonymous() policy.Rights { return policy.Everything() }

func (noUsers) ClearPassword(netip.Addr) {}

// CompileFilter makes a program of a filter expression (pcap-filter(7));
// pcapfilter.Compile is the real one.
type CompileFilter func(linkType capture.LinkType, snapLen int, expression string) ([]bpf.RawInstruction, error)

// addressOf returns the address at the other end; the zero Addr for a unix
// socket.
func addressOf(conn net.Conn) netip.Addr {
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// maxFilterSnapLen is the length that a policy's filter returns for a frame it
// accepts. It doesn't cut anything: [sockfilter.And].
const maxFilterSnapLen = 262144

// restrict compiles the filter that the client's rights put on every capture of
// a device; nil is none.
func (s *Session) restrict(linkType capture.LinkType) ([]bpf.RawInstruction, error) {
	if s.rights.Filter == "" {
		return nil, nil
	}
	return s.cfg.CompileFilter(linkType, maxFilterSnapLen, s.rights.Filter)
}

// demand joins a restriction with the filter that the device's name asks for.
func (s *Session) demand(d rpcap.Device, linkType capture.LinkType, restriction []bpf.RawInstruction) ([]bpf.RawInstruction, error) {
	if d.Filter == "" {
		return restriction, nil
	}
	own, err := s.cfg.CompileFilter(linkType, maxFilterSnapLen, d.Filter)
	if err != nil {
		return nil, fmt.Errorf("%q: parameter \"filter\": %w", d.Name, err)
	}
	if restriction == nil {
		return own, nil
	}
	return sockfilter.And(restriction, own)
}
