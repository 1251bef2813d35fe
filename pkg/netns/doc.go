//go:build linux

// Package netns makes anonymous network namespaces and connects them by veth
// pairs, for tests, demonstrations and measurements.
//
// A namespace is held by a descriptor and by threads of this process only: it
// has no name under /run/netns, and no process keeps it. When this process
// ends, even by SIGKILL, the kernel takes namespaces, interfaces and the
// child processes started in them away.
//
// New namespaces are quiet: interfaces made by [Veth] have no IPv6 link-local
// address, so that nothing crosses them but what the caller sends (and ARP or
// neighbour discovery for it).
package netns
