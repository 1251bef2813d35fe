//go:build amd64 || arm64

package prefetch

// lines asks for groups of four lines from p on.
//
//go:noescape
func lines(p, groups uintptr)
