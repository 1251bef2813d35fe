package smallfile

import (
	"crypto/x509"
	"fmt"
)

// maxAuthorities is more than a system's whole bundle of authorities has, in
// bytes.
const maxAuthorities = 4 << 20

// Authorities reads a PEM file with certificates, of authorities that the other
// side's must be signed by: one at least. The error names the file.
func Authorities(path string) (*x509.CertPool, error) {
	pem, err := Read(path, maxAuthorities)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("no certificate in %s", path)
	}
	return pool, nil
}
