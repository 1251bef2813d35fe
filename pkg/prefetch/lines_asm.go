//go:build amd64 || arm64

package prefetch

// lines asks for groups of four lines from p on, of which there is one at least.
//
//go:noescape
func lines(p, groups uintptr)

// distantLines is lines as far as the second-level cache.
//
//go:noescape
func distantLines(p, groups uintptr)
