//go:build linux

// Package afpacket is a receive ring on network interfaces: a packet socket
// with TPACKET_V3 blocks shared with the kernel (packet(7),
// Documentation/networking/packet_mmap.rst).
//
// The kernel fills blocks with frames; [Ring.Next] leases a full one to the
// caller, [Block.Next] walks its frames in place without copying, and
// [Block.Release] gives it back. Frames that find no free block are lost and
// counted by the kernel ([Stats.Drops]).
//
// The socket runs in the network namespace of the thread that calls [Open].
// It needs CAP_NET_RAW.
package afpacket
