// Package tlsfiles keeps a TLS server's certificate, key and client authority,
// as files hold them, and reads them again while the server runs.
package tlsfiles

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"capstan/pkg/smallfile"
)

// Options name the files, all in PEM.
type Options struct {
	// Certificate is the server's, with those that lead to a root behind it.
	Certificate string
	Key         string
	// ClientAuthority is what the certificates of clients must be signed by;
	// empty: clients aren't asked for any.
	ClientAuthority string
	// RequireClient refuses clients without a certificate.
	RequireClient bool
}

// Files is what the files held when they were last read in good order.
type Files struct {
	options Options
	log     *slog.Logger
	current atomic.Pointer[tls.Config]
	expiry  atomic.Int64 // Unix seconds
}

// warnBefore is how long before its end a certificate is warned of.
const warnBefore = 14 * 24 * time.Hour

// Open reads the files. A certificate that has expired, or soon will, is a
// warning in the log.
func Open(o Options, log *slog.Logger) (*Files, error) {
	if o.RequireClient && o.ClientAuthority == "" {
		return nil, errors.New("client certificates are required, but no authority for them is named")
	}
	f := &Files{options: o, log: log}
	return f, f.Reload()
}

// Reload reads the files again, for connections that begin from now on. After
// an error everything stays as it was.
func (f *Files) Reload() error {
	cfg, leaf, err := f.options.read()
	if err != nil {
		return err
	}
	f.current.Store(cfg)
	f.expiry.Store(leaf.NotAfter.Unix())
	f.warn(leaf)
	return nil
}

func (f *Files) warn(leaf *x509.Certificate) {
	left := time.Until(leaf.NotAfter)
	attributes := []any{"file", f.options.Certificate, "expires", leaf.NotAfter.UTC().Format(time.RFC3339)}
	switch {
	case left <= 0:
		f.log.Warn("the TLS certificate has expired", attributes...)
	case left < warnBefore:
		f.log.Warn("the TLS certificate will expire soon", attributes...)
	case time.Now().Before(leaf.NotBefore):
		f.log.Warn("the TLS certificate is not valid yet", attributes...)
	}
	if info, err := os.Stat(f.options.Key); err == nil && info.Mode().Perm()&0o007 != 0 {
		f.log.Warn("everybody on this host can read the TLS key", "file", f.options.Key, "mode", info.Mode().Perm().String())
	}
}

// Expiry is when the server's certificate ends.
func (f *Files) Expiry() time.Time { return time.Unix(f.expiry.Load(), 0) }

// Config returns a configuration for servers, which each connection takes its
// files from anew.
func (f *Files) Config() *tls.Config {
	cfg := base()
	cfg.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return f.current.Load(), nil }
	return cfg
}

// base is what doesn't depend on files. There are no session tickets: a client
// that resumes would not be asked for its certificate again.
func base() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS12,
		SessionTicketsDisabled: true,
		// Data connections carry large writes: full records from the start.
		DynamicRecordSizingDisabled: true,
	}
}

func (o Options) read() (*tls.Config, *x509.Certificate, error) {
	cfg := base()
	certificate, err := smallfile.Read(o.Certificate, maxFileLen)
	if err != nil {
		return nil, nil, fmt.Errorf("certificate: %w", err)
	}
	key, err := smallfile.Read(o.Key, maxFileLen)
	if err != nil {
		return nil, nil, fmt.Errorf("key: %w", err)
	}
	defer clear(key)
	if encrypted(key) {
		return nil, nil, fmt.Errorf("key: %s is encrypted; a daemon has nobody to ask for the passphrase", o.Key)
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, nil, fmt.Errorf("certificate %s with key %s: %w", o.Certificate, o.Key, err)
	}
	cfg.Certificates = []tls.Certificate{pair}
	if o.ClientAuthority != "" {
		if cfg.ClientCAs, err = smallfile.Authorities(o.ClientAuthority); err != nil {
			return nil, nil, fmt.Errorf("client authority: %w", err)
		}
		cfg.ClientAuth = tls.VerifyClientCertIfGiven
		if o.RequireClient {
			cfg.ClientAuth = tls.RequireAndVerifyClientCert
		}
	}
	return cfg, pair.Leaf, nil
}

// encrypted tells whether a key needs a passphrase (RFC 1421 §4.6, RFC 5958 §3).
func encrypted(key []byte) bool {
	block, _ := pem.Decode(key)
	return block != nil && (block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED"))
}

// maxFileLen bounds certificate and key.
const maxFileLen = 4 << 20
