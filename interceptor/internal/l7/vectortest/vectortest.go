// Package vectortest reads test vectors of other projects, which are kept
// outside this one.
package vectortest

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// maxLen bounds one file.
const maxLen = 16 << 20

// JSON returns the JSON files of the archive name.tar.gz by their paths. The
// test is skipped where the archive is not: VECTORS_DIR tells where to look,
// else it is shared/reference/vectors beside the repository. up leads from the
// test's directory to the repository.
func JSON(t testing.TB, up, name string) map[string][]byte {
	t.Helper()
	dir := os.Getenv("VECTORS_DIR")
	if dir == "" {
		dir = filepath.Join(up, "../shared/reference/vectors")
	}
	f, err := os.Open(filepath.Join(dir, name+".tar.gz"))
	if errors.Is(err, os.ErrNotExist) {
		t.Skipf("no %s in %s (set VECTORS_DIR)", name, dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string][]byte)
	for archive := tar.NewReader(z); ; {
		h, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(h.Name, ".json") {
			continue
		}
		if files[h.Name], err = io.ReadAll(io.LimitReader(archive, maxLen)); err != nil {
			t.Fatal(err)
		}
	}
	if len(files) == 0 {
		t.Fatalf("%s holds no vectors", name)
	}
	return files
}
