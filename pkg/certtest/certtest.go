// Package certtest makes certificates for tests.
package certtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority issues certificates.
type Authority struct {
	// Root is the authority's own certificate, Intermediate the one that
	// signs, both in PEM. They are the same for an authority without
	// intermediate.
	Root, Intermediate []byte

	signer *x509.Certificate
	key    *ecdsa.PrivateKey
	serial int64
}

// New returns an authority that signs by itself.
func New(t testing.TB, name string) *Authority {
	t.Helper()
	a := &Authority{serial: 1}
	template := authorityTemplate(name, 1)
	a.signer, a.key, a.Root = sign(t, template, template, nil)
	a.Intermediate = a.Root
	return a
}

// NewChained returns an authority that signs by an intermediate one.
func NewChained(t testing.TB, name string) *Authority {
	t.Helper()
	a := New(t, name)
	a.serial++
	a.signer, a.key, a.Intermediate = sign(t, authorityTemplate(name+" intermediate", a.serial), a.signer, a.key)
	return a
}

func authorityTemplate(name string, serial int64) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
}

// Pool trusts the root.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(a.Root)
	return pool
}

// Issue returns a certificate for name and 127.0.0.1, valid until notAfter, and
// its key, in PEM.
func (a *Authority) Issue(t testing.TB, name string, notAfter time.Time) (certificate, key []byte) {
	t.Helper()
	a.serial++
	_, private, certificate := sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(a.serial), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		NotBefore:   time.Now().Add(-48 * time.Hour), NotAfter: notAfter,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.signer, a.key)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return certificate, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// Pair is Issue for tls.Config, valid for a day, with the intermediate.
func (a *Authority) Pair(t testing.TB, name string) tls.Certificate {
	t.Helper()
	certificate, key := a.Issue(t, name, time.Now().Add(24*time.Hour))
	pair, err := tls.X509KeyPair(append(certificate, a.Intermediate...), key)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// Write writes data to a file that only the owner can read, and returns its
// path.
func Write(t testing.TB, dir, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func sign(t testing.TB, template, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if by == nil {
		by = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return parsed, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
