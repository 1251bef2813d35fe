package api

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"capstan/pkg/unixsock"
)

// Role is what somebody may do.
type Role uint8

// The roles; each includes those before.
const (
	None  Role = iota
	Read       // everything but SetCapture
	Admin      // everything
)

// String names the role.
func (r Role) String() string { return [...]string{"none", "read", "admin"}[r] }

// Subjects are some of those who may connect.
type Subjects struct {
	UIDs, GIDs []uint32 // on the unix socket; a group is the primary or a supplementary one
	// Names are of certificates: a common name of the subject, or a DNS name, URI
	// or mail address of the subject's alternative names, equal in full.
	Names []string
}

// Roles say who has which role. Besides, root and the interceptor's own user
// are admins on the unix socket.
type Roles struct{ Read, Admin Subjects }

// identity is who has connected.
type identity struct {
	text  string   // for the audit log
	unix  bool     // the next three are of a process on this host
	uid   uint32   //
	gids  []uint32 // the primary group first
	names []string // of the certificate
}

// role tells the highest role of id.
func (r *Roles) role(id identity) Role {
	switch {
	case id.unix && (id.uid == 0 || int(id.uid) == os.Geteuid()), r.Admin.include(id):
		return Admin
	case r.Read.include(id):
		return Read
	}
	return None
}

func (s *Subjects) include(id identity) bool {
	if id.unix {
		return slices.Contains(s.UIDs, id.uid) || slices.ContainsFunc(id.gids, func(g uint32) bool { return slices.Contains(s.GIDs, g) })
	}
	return slices.ContainsFunc(id.names, func(n string) bool { return slices.Contains(s.Names, n) })
}

// identify tells who calls.
func identify(ctx context.Context) identity {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return identity{text: "unknown"}
	}
	if a, ok := p.Addr.(*processAddr); ok {
		return a.identity
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.VerifiedChains) == 0 {
		return identity{text: p.Addr.String()}
	}
	names := certificateNames(info.State.PeerCertificates[0])
	return identity{text: fmt.Sprintf("%s certificate %q", p.Addr, strings.Join(names, " ")), names: names}
}

func certificateNames(c *x509.Certificate) []string {
	var names []string
	if c.Subject.CommonName != "" {
		names = append(names, c.Subject.CommonName)
	}
	names = append(names, c.DNSNames...)
	names = append(names, c.EmailAddresses...)
	for _, u := range c.URIs {
		names = append(names, u.String())
	}
	return names
}

// processListener tells of each connection to a unix socket who made it, as the
// address that it comes from.
type processListener struct{ *net.UnixListener }

// Accept implements net.Listener.
func (l processListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		who, err := identifyProcess(conn)
		if err != nil { // it has gone, or nobody knows who it is
			conn.Close()
			continue
		}
		return &processConn{conn, &processAddr{who}}, nil
	}
}

func identifyProcess(conn *net.UnixConn) (identity, error) {
	p, err := unixsock.PeerOf(conn)
	if err != nil {
		return identity{}, err
	}
	groups, err := unixsock.GroupsOf(conn)
	if err != nil {
		return identity{}, err
	}
	return identity{text: p.String(), unix: true, uid: p.UID, gids: append([]uint32{p.GID}, groups...)}, nil
}

type processConn struct {
	*net.UnixConn
	remote *processAddr
}

// RemoteAddr implements net.Conn.
func (c *processConn) RemoteAddr() net.Addr { return c.remote }

// processAddr is the address of a process on this host.
type processAddr struct{ identity }

// Network implements net.Addr.
func (*processAddr) Network() string { return "unix" }

// String implements net.Addr.
func (a *processAddr) String() string { return a.text }
