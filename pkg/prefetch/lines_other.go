//go:build !amd64 && !arm64

package prefetch

func lines(p, groups uintptr) {}

func distantLines(p, groups uintptr) {}
