package smallfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"capstan/pkg/certtest"
)

func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := Read(path, 5); err != nil || string(b) != "12345" {
		t.Errorf("%q, %v", b, err)
	}
	if b, err := Read(path, 4); b != nil || err == nil || err.Error() != path+" is longer than 4 bytes" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := Read(path+"x", 4); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestAuthorities(t *testing.T) {
	dir, ca := t.TempDir(), certtest.New(t, "authority")
	pool, err := Authorities(certtest.Write(t, dir, "ca.pem", ca.Root))
	if err != nil || !pool.Equal(ca.Pool()) {
		t.Error(err)
	}
	for file, want := range map[string]string{
		certtest.Write(t, dir, "empty", nil):                           "no certificate in " + filepath.Join(dir, "empty"),
		certtest.Write(t, dir, "long", make([]byte, maxAuthorities+1)): "is longer than",
		filepath.Join(dir, "missing"):                                  "missing",
	} {
		if _, err := Authorities(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
