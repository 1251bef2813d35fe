// Package tlsconf makes TLS configurations and credentials of files that are
// read again for each handshake, so that a renewed certificate or token is used
// without a restart, and a broken file costs connections only as long as it is
// broken.
package tlsconf

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"

	"google.golang.org/grpc/credentials"

	"capstan/pkg/smallfile"
)

// Files names PEM files. Those of a certificate and its key come together.
type Files struct {
	// Authorities verify the other side; empty: the system's, for a client.
	Authorities string
	// Certificate, with intermediates behind it, and Key are our own.
	Certificate, Key string
}

// Check reads the files once, to tell at the start what is wrong.
func (f Files) Check() error {
	_, err := f.read()
	return err
}

// read returns what both sides have.
func (f Files) read() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if (f.Certificate == "") != (f.Key == "") {
		return nil, errors.New("tls: a certificate and its key come together")
	}
	if f.Certificate != "" {
		pair, err := tls.LoadX509KeyPair(f.Certificate, f.Key)
		if err != nil {
			return nil, fmt.Errorf("tls: certificate %s with key %s: %w", f.Certificate, f.Key, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	var err error
	c.RootCAs, err = f.Pool()
	return c, err
}

// Pool returns the authorities, nil if there is no file of them.
func (f Files) Pool() (*x509.CertPool, error) {
	if f.Authorities == "" {
		return nil, nil
	}
	pool, err := smallfile.Authorities(f.Authorities)
	if err != nil {
		return nil, fmt.Errorf("tls: authorities: %w", err)
	}
	return pool, nil
}

// Client returns credentials of a client that verifies the server for name,
// or for the host it connects to if name is empty.
func (f Files) Client(name string) credentials.TransportCredentials {
	return &clientCredentials{TransportCredentials: credentials.NewTLS(nil), files: f, name: name}
}

// Handshake secures conn as a client that verifies the server for name. It reads
// the files, and closes conn if it fails.
func (f Files) Handshake(ctx context.Context, conn net.Conn, name string) (net.Conn, error) {
	cfg, err := f.read()
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	cfg.ServerName = name
	secured := tls.Client(conn, cfg)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return secured, nil
}

// Secret returns the first line of a file, such as a password's.
func Secret(file string) (string, error) {
	text, err := smallfile.Read(file, maxFile)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return "", fmt.Errorf("%s: the first line is empty", file)
	}
	return line, nil
}

// clientCredentials reads the files for each handshake.
type clientCredentials struct {
	credentials.TransportCredentials // for what doesn't depend on the files
	files                            Files
	name                             string
}

// ClientHandshake implements credentials.TransportCredentials.
func (c *clientCredentials) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	cfg, err := c.files.read()
	if err != nil {
		return nil, nil, err
	}
	if c.name != "" {
		authority = c.name // which is what gRPC verifies
	}
	return credentials.NewTLS(cfg).ClientHandshake(ctx, authority, conn)
}

// Clone implements credentials.TransportCredentials.
func (c *clientCredentials) Clone() credentials.TransportCredentials {
	return &clientCredentials{TransportCredentials: c.TransportCredentials.Clone(), files: c.files, name: c.name}
}

// Server returns the configuration of a server that wants a certificate of
// every client that Authorities has signed. If a file can't be read at a
// handshake, that handshake fails.
func (f Files) Server() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			cfg, err := f.read()
			if err != nil {
				return nil, err
			}
			// Without authorities there is nobody to trust: no client gets in.
			cfg.ClientCAs, cfg.RootCAs = cfg.RootCAs, nil
			if cfg.ClientCAs == nil {
				cfg.ClientCAs = x509.NewCertPool()
			}
			cfg.ClientAuth = tls.RequireAndVerifyClientCert
			cfg.NextProtos = []string{"h2"}
			return cfg, nil
		},
	}
}

// Credentials are Server for gRPC. refused is told of each connection that has
// failed its handshake: the client may learn nothing but its end.
func (f Files) Credentials(refused func(peer net.Addr, err error)) credentials.TransportCredentials {
	return &serverCredentials{TransportCredentials: credentials.NewTLS(f.Server()), refused: refused}
}

type serverCredentials struct {
	credentials.TransportCredentials
	refused func(net.Addr, error)
}

// ServerHandshake implements credentials.TransportCredentials.
func (c *serverCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	secured, info, err := c.TransportCredentials.ServerHandshake(conn)
	if err != nil {
		c.refused(conn.RemoteAddr(), err)
	}
	return secured, info, err
}

// Clone implements credentials.TransportCredentials.
func (c *serverCredentials) Clone() credentials.TransportCredentials {
	return &serverCredentials{TransportCredentials: c.TransportCredentials.Clone(), refused: c.refused}
}

// Token returns credentials that send the content of file as a bearer token,
// over TLS only. The file is read for each call.
func Token(file string) credentials.PerRPCCredentials { return tokenFile(file) }

type tokenFile string

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (t tokenFile) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	text, err := smallfile.Read(string(t), maxFile)
	if err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return nil, fmt.Errorf("token: %s holds no single word", string(t))
	}
	return map[string]string{"authorization": "Bearer " + token}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (tokenFile) RequireTransportSecurity() bool { return true }

const maxFile = 4 << 20
