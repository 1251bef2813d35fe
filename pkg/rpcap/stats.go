package rpcap

import "encoding/binary"

// StatsReply holds the counters of a capture (struct rpcap_stats). They are
// 32 bits wide and wrap.
type StatsReply struct {
	Received         uint32 // ps_recv: frames that passed the filter, dropped ones included
	InterfaceDropped uint32 // ps_ifdrop: lost by the interface
	KernelDropped    uint32 // ps_drop: lost since the ring was full
	Sent             uint32 // handed to the data channel
}

// Type returns [TypeStatsReply].
func (*StatsReply) Type() Type { return TypeStatsReply }

func (*StatsReply) headerValue() uint16 { return 0 }

func (m *StatsReply) appendBody(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, m.Received)
	dst = binary.BigEndian.AppendUint32(dst, m.InterfaceDropped)
	dst = binary.BigEndian.AppendUint32(dst, m.KernelDropped)
	return binary.BigEndian.AppendUint32(dst, m.Sent)
}

func (m *StatsReply) decodeBody(_ uint16, c cursor) error {
	m.Received = c.u32("ifrecv")
	m.InterfaceDropped = c.u32("ifdrop")
	m.KernelDropped = c.u32("krnldrop")
	m.Sent = c.u32("svrcapt")
	return c.done()
}
