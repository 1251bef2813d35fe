// Package smallfile reads files that somebody may have made too large.
package smallfile

import (
	"fmt"
	"io"
	"os"
)

// Read reads a file of at most limit bytes. The error names the file, one that is
// longer included.
func Read(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		return nil, fmt.Errorf("%s is longer than %d bytes", path, limit)
	}
	return b, err
}
