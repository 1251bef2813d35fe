//go:build !amd64 && !arm64

package prefetch

func groups(p, n uintptr) {}
func blocks(p, n uintptr) {}
