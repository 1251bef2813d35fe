package rpcap

import "encoding/binary"

// StatsReply holds the counters of a capture (struct rpcap_stats). They are
// 32 bits wide and wrap.
type StatsReply struct {
	Received         uint32 // ps_recv: frames that passed the filter, dropped ones included
	InterfaceDropped uint32 // ps_ifdrop: lost by the interface
	KernelDropped    uint32 // ps_drop: lost since the ring was full
	Sent             uint32 // handed to the data channel
	// OtherFlows counts frames of connections that the device's parameter flows
	// leaves out. It is an extension, sent if it is not 0: libpcap's client skips
	// what follows the counters that it knows.
	OtherFlows uint32
}

// Type returns [TypeStatsReply].
func (*StatsReply) Type() Type { return TypeStatsReply }

func (*StatsReply) headerValue() uint16 { return 0 }

func (m *StatsReply) appendBody(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, m.Received)
	dst = binary.BigEndian.AppendUint32(dst, m.InterfaceDropped)
	dst = binary.BigEndian.AppendUint32(dst, m.KernelDropped)
	dst = binary.BigEndian.AppendUint32(dst, m.Sent)
	if m.OtherFlows != 0 {
		dst = binary.BigEndian.AppendUint32(dst, m.OtherFlows)
	}
	return dst
}

func (m *StatsReply) decodeBody(_ uint16, c cursor) error {
	m.Received = c.u32("ifrecv")
	m.InterfaceDropped = c.u32("ifdrop")
	m.KernelDropped = c.u32("krnldrop")
	m.Sent = c.u32("svrcapt")
	if c.left() >= 4 {
		m.OtherFlows = c.u32("other flows")
	}
	return c.done()
}
