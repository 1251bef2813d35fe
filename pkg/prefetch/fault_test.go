//go:build unix

package prefetch_test

import (
	"os"
	"syscall"
	"testing"

	"capstan/pkg/prefetch"
)

// TestNothingThere asks for memory that nobody may read.
func TestNothingThere(t *testing.T) {
	page := os.Getpagesize()
	b, err := syscall.Mmap(-1, 0, 2*page, syscall.PROT_NONE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Munmap(b)
	var a prefetch.Ahead
	a.Behind(nil)
	for n := range page {
		a.Behind(b[:n])
		a.Behind(b[n:page])
	}
	if n := testing.AllocsPerRun(100, func() { a.Behind(b[:100]); a.Behind(b[:page]) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
