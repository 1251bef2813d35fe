// Package leaktest fails the tests of a package that leave goroutines behind.
package leaktest

import (
	"flag"
	"os"
	"runtime"
	"runtime/pprof"
	"testing"
	"time"
)

// patience is how long goroutines may take to end after the last test.
const patience = 5 * time.Second

// Run runs a package's tests and returns the status to exit with: that of the
// tests, or 1 if they pass and leave a goroutine behind, whose stack is printed.
// It is called from TestMain.
func Run(m *testing.M) int {
	before := runtime.NumGoroutine()
	code := m.Run()
	if fuzz := flag.Lookup("test.fuzz"); fuzz != nil && fuzz.Value.String() != "" {
		return code // the fuzzing engine leaves some of its own
	}
	deadline := time.Now().Add(patience)
	for code == 0 && runtime.NumGoroutine() > before {
		if time.Now().After(deadline) {
			_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 1) // nobody else is left to tell
			return 1
		}
		time.Sleep(10 * time.Millisecond)
	}
	return code
}
