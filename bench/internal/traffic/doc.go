// Package traffic makes link-layer frames from a plan and a seed: numbered test
// frames of UDP and TCP, whole HTTP/1, HTTP/2 and gRPC connections, or the
// frames of a capture file. The same plan always gives the same frames.
//
// A test frame carries a [Mark] and a pattern that follows from it, so that
// whoever receives the frame can tell which one it is, when it was sent and
// whether a single byte of it changed: see [ParseMark] and [CheckPattern].
//
// Addresses are those set apart for benchmarks (198.18.0.0/15 by RFC 2544,
// 2001:2::/48 by RFC 5180). The MAC addresses are nobody's, so that a host
// which receives the frames drops them after its taps have seen them.
package traffic
