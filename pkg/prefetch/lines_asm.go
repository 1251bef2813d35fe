//go:build amd64 || arm64

package prefetch

// groups asks for n groups of four lines from p on, for the first-level cache.
//
//go:noescape
func groups(p, n uintptr)

// blocks asks for n blocks of eight lines from p on, for the second-level cache.
//
//go:noescape
func blocks(p, n uintptr)
