//go:build linux

package daemon

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// resources are what a daemon might leave behind.
type resources struct {
	goroutines  int
	descriptors map[string]int // by what they are of: socket, anon_inode:bpf-prog, …
	heap        uint64
}

// inUse counts this process's resources.
func inUse(t *testing.T) resources {
	t.Helper()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	r := resources{goroutines: runtime.NumGoroutine(), descriptors: map[string]int{}, heap: m.HeapAlloc}
	const directory = "/proc/self/fd"
	entries, err := os.ReadDir(directory)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(directory, e.Name()))
		if err != nil {
			continue // the directory's own
		}
		kind, _, _ := strings.Cut(target, ":[")
		r.descriptors[kind]++
	}
	return r
}

// heapSlack is what the heap may have grown by, in bytes: buffers that pools
// keep, and the log of the test.
const heapSlack = 8 << 20

// awaitReturn waits until the process is back to what it had. Only what lives on
// the heap is judged as memory: the race detector keeps more for itself.
func awaitReturn(t *testing.T, before resources) {
	t.Helper()
	var complaint string
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		now := inUse(t)
		complaint = ""
		if now.goroutines > before.goroutines {
			complaint += " goroutines"
		}
		for kind, n := range now.descriptors {
			if n > before.descriptors[kind] {
				complaint += " " + kind
			}
		}
		if now.heap > before.heap+heapSlack {
			complaint += " heap"
		}
		if complaint == "" {
			return
		}
	}
	t.Errorf("left behind:%s\nbefore %+v\nnow    %+v", complaint, before, inUse(t))
}
