//go:build linux

package server

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"

	"capstan/pkg/rpcap/rpcaptest"
)

const (
	certFile = "cert.pem"
	keyFile  = "key.pem"
)

// writeCertificate makes a certificate for 127.0.0.1 and its key.
func writeCertificate(dir string) error {
	config, _, err := rpcaptest.SelfSigned("127.0.0.1")
	if err != nil {
		return err
	}
	key, err := x509.MarshalPKCS8PrivateKey(config.Certificates[0].PrivateKey)
	if err != nil {
		return err
	}
	write := func(name, kind string, der []byte) error {
		return os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
	}
	return errors.Join(
		write(certFile, "CERTIFICATE", config.Certificates[0].Certificate[0]),
		write(keyFile, "PRIVATE KEY", key))
}
