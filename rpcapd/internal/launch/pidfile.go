//go:build linux

package launch

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// WritePID writes this process's number to a file, all at once, and returns
// what removes it.
func WritePID(path string) (remove func(), err error) {
	temporary, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path))
	if err != nil {
		return nil, fmt.Errorf("pid file: %w", err)
	}
	_, err = temporary.WriteString(strconv.Itoa(os.Getpid()) + "\n")
	if err == nil {
		err = temporary.Chmod(0o644)
	}
	if cerr := temporary.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err != nil {
		os.Remove(temporary.Name())
		return nil, fmt.Errorf("pid file: %w", err)
	}
	return func() { os.Remove(path) }, nil
}
