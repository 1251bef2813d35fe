// Package sockfilter is the capture filter of packet sockets: a client's
// classic BPF program, validated, runs as eBPF in the kernel behind a prologue
// of our own, and as an exact interpreter beside it.
//
// [Compile] accepts the programs that Linux accepts in SO_ATTACH_FILTER
// (bpf_check_classic in net/core/filter.c), up to [MaxInstructions] long,
// except those with loads that depend on more than the frame's bytes and
// length: the ancillary loads (SKF_AD_OFF), of which none is supported yet,
// and absolute loads relative to a header (SKF_NET_OFF, SKF_LL_OFF).
//
// # Semantics
//
// The interpreter and the kernel's eBPF agree on every program and frame. They
// follow the interpreters of libpcap and golang.org/x/net/bpf, which differ
// from Linux's own classic filters in two places:
//
//   - An indirect load whose offset X+k exceeds 2³¹-1 is out of range and ends
//     the program with 0. Linux wraps the sum at 32 bits, so that it may read
//     earlier bytes, or ancillary data.
//   - A shift by X of 32 or more gives 0. Linux shifts by X modulo 32.
//
// golang.org/x/net/bpf in turn knows no NEG instruction and takes LDX LEN for
// LD LEN; here both do what they do in Linux.
package sockfilter
