package main

import (
	"crypto/x509"
	"os"
	"os/exec"
	"testing"
)

// TestAuthoritiesWithoutSystem holds that there are authorities to verify a
// collector by in an image that has no files of them.
func TestAuthoritiesWithoutSystem(t *testing.T) {
	if os.Getenv("RELAY_TEST_ROOTS") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestAuthoritiesWithoutSystem$")
		cmd.Env = append(os.Environ(), "RELAY_TEST_ROOTS=1", "SSL_CERT_FILE=/nowhere", "SSL_CERT_DIR=/nowhere")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		t.Fatal(err)
	}
	if pool.Equal(x509.NewCertPool()) {
		t.Error("no authorities")
	}
}
