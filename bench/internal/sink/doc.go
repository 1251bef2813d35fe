//go:build linux

// Package sink is an RPCAP client that counts and verifies what a server sends
// and throws it away, as cheaply as it can: over TCP, TLS, a unix socket, or
// with the frames as UDP datagrams.
//
// It believes nothing that a server says. Which frames arrived, how often, in
// which order and how late it tells from the marks in them; what the server
// counts (the packet numbers, and the answer to STATS) is reported beside.
package sink
