// Package defrag puts the fragments of IPv4 and IPv6 packets together (RFC 791
// §3.2, RFC 8200 §4.5).
//
// A [Defragmenter] has no clock, time is the packets' own; its memory is bounded
// by [Config]. What reaches a limit pays with the oldest datagram.
//
// # Overlap
//
// IPv4: of bytes that arrive twice the first stay, and a difference is counted.
// IPv6: a datagram with fragments that overlap is dropped whole, with what
// follows of it (RFC 5722); a fragment that is there twice is not an overlap
// (RFC 8200 §4.5), it was only captured twice.
package defrag
