// Package sockfilter is the capture filter of packet sockets: a client's
// classic BPF program, validated, runs as eBPF in the kernel behind a prologue
// of our own, and as an exact interpreter beside it.
//
// [Compile] accepts the programs that Linux accepts in SO_ATTACH_FILTER
// (bpf_check_classic in net/core/filter.c), up to [MaxInstructions] long.
//
// # The client's frame
//
// Programs are written for the frame that the client will see ([View]), and
// the kernel's frame differs: a VLAN tag is held apart from it, a cooked header
// is missing. So a program is translated once for each place where the kernel can
// have a tag, each load going to where the kernel has the bytes, or to the number
// in struct __sk_buff that stands for them. What a socket filter
// can't know, what the kernel refuses, and what would keep its verifier busy is
// left to user space, see [Filter.Set].
//
// # Semantics
//
// The interpreter and the kernel's eBPF agree on every program and frame. They
// follow the interpreters of libpcap and golang.org/x/net/bpf, which differ
// from Linux's own classic filters in these places:
//
//   - An indirect load whose offset X+k exceeds 2³¹-1 is out of range and ends
//     the program with 0. Linux wraps the sum at 32 bits, so that it may read
//     earlier bytes, or ancillary data.
//   - A shift by X of 32 or more gives 0. Linux shifts by X modulo 32.
//   - The loads SKF_AD_VLAN_TAG, _VLAN_TAG_PRESENT and _VLAN_TPID give 0: in the
//     client's frame the tag is among the bytes.
//   - Loads at SKF_LL_OFF count from the start of the client's frame, also if
//     that is a cooked header.
//   - Loads at SKF_NET_OFF reach all bytes of the frame. Before Linux 6.16
//     they reach those in its first piece of memory.
//
// golang.org/x/net/bpf in turn knows no NEG instruction, takes LDX LEN for LD
// LEN and has hardly any ancillary loads; here all do what they do in Linux.
//
// # Rules
//
// Before the client's program a frame meets the rules that need no state, cheap
// ones first: interfaces, direction, own connections, shard and flows. Behind it,
// for frames that it has accepted, come those that keep state: dedup, then
// cutoff. What each costs in the kernel, from a few to some 140 ns a frame, is told by
// BenchmarkRules, and by docs/performance.md.
//
// # Privileges
//
// A [Filter] needs CAP_BPF (Linux 5.8). CAP_PERFMON spares it the kernel's
// barriers against speculation, which make the stateful rules dearer. Without
// CAP_BPF a [ClassicFilter] does what classic socket filters can.
package sockfilter
