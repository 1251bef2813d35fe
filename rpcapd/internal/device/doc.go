//go:build linux

// Package device knows the host's capture devices: it lists the interfaces as
// libpcap does, tells their link types, and opens ring and filter on one.
package device
