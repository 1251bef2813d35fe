package sockfilter

import (
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// Stack of the part of the prologue that recognises our own packets. The
// header's length is IPv6's, so that its addresses end the buffer; those of
// IPv4 are moved to the same place in 16-byte form.
//
// Registers are stored in all 8 bytes of a word of the stack: without
// CAP_PERFMON, verifiers before Linux 6.8 refuse to write a part of a word that
// a register was stored in ("attempt to corrupt spilled pointer").
const (
	stackHeader = -40 // 40 bytes
	stackSource = -32 // 16 bytes, inside the header
	stackDest   = -16 // 16 bytes, inside the header
	stackPorts  = -44 // source and destination, in network order
	stackKey    = -72 // an endpointKey, 24 bytes
)

// Offsets in IP headers (RFC 791 §3.1, RFC 8200 §3).
const (
	ipv4HeaderLen      = 20
	ipv4FragmentOffset = 6
	ipv4Protocol       = 9
	ipv4Source         = 12
	ipv4Dest           = 16
	ipv6HeaderLen      = 40
	ipv6NextHeader     = 6

	fragmentOffsetMask = 0x1fff
)

// startNetwork makes bpf_skb_load_bytes_relative count from the network header
// (BPF_HDR_START_NET).
const startNetwork = 1

// Registers of this part.
const (
	regProtocol  = asm.R8
	regTransport = asm.R7 // offset of the transport header
	regPort      = asm.R7
)

// exclude jumps to labelExcluded for packets from and to endpoints of s. What
// it can't read is not ours.
func (s *SelfTable) exclude() asm.Instructions {
	var ins asm.Instructions
	ins = append(ins,
		asm.LoadMapValue(asm.R1, s.ports.FD(), 0),
		asm.LoadMem(asm.R1, asm.R1, 0, asm.DWord),
		asm.JEq.Imm(asm.R1, 0, labelOthers), // no endpoint at all
	)
	ins = append(ins, loadHeader()...)
	ins = append(ins,
		asm.JEq.Imm(regProtocol, unix.IPPROTO_TCP, "self ports"),
		asm.JNE.Imm(regProtocol, unix.IPPROTO_UDP, labelOthers),
	)
	ports := loadNetwork(regTransport, 0, stackPorts, 4)
	ports[0] = ports[0].WithSymbol("self ports")
	ins = append(ins, ports...)
	ins = append(ins, s.excludeEndpoint(stackSource, stackPorts, "self destination")...)
	dest := s.excludeEndpoint(stackDest, stackPorts+2, labelOthers)
	dest[0] = dest[0].WithSymbol("self destination")
	return append(ins, dest...)
}

// loadNetwork loads length bytes into the stack, from an offset relative to
// the network header that is in a register, or a constant if that is R0.
func loadNetwork(reg asm.Register, offset int32, stack, length int32) asm.Instructions {
	from := asm.Mov.Reg(asm.R2, reg)
	if reg == asm.R0 {
		from = asm.Mov.Imm(asm.R2, offset)
	}
	return asm.Instructions{
		asm.Mov.Reg(asm.R1, regCtx),
		from,
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, stack),
		asm.Mov.Imm(asm.R4, length),
		asm.Mov.Imm(asm.R5, startNetwork),
		asm.FnSkbLoadBytesRelative.Call(),
		asm.JNE.Imm(asm.R0, 0, labelOthers),
	}
}

// loadHeader reads the IP header: addresses to stackSource and stackDest,
// transport protocol to regProtocol, its offset to regTransport.
func loadHeader() asm.Instructions {
	ins := loadNetwork(asm.R0, 0, stackHeader, ipv4HeaderLen)
	ins = append(ins,
		asm.LoadMem(regTransport, asm.RFP, stackHeader, asm.Byte),
		asm.Mov.Reg(asm.R1, regTransport),
		asm.RSh.Imm(asm.R1, 4),
		asm.JEq.Imm(asm.R1, 4, "self ipv4"),
		asm.JNE.Imm(asm.R1, 6, labelOthers),
	)
	ins = append(ins, loadNetwork(asm.R0, 0, stackHeader, ipv6HeaderLen)...)
	ins = append(ins,
		asm.LoadMem(regProtocol, asm.RFP, stackHeader+ipv6NextHeader, asm.Byte),
		asm.Mov.Imm(regTransport, ipv6HeaderLen),
		asm.Ja.Label("self protocol"),

		asm.LoadMem(asm.R1, asm.RFP, stackHeader+ipv4FragmentOffset, asm.Half).WithSymbol("self ipv4"),
		asm.HostTo(asm.BE, asm.R1, asm.Half),
		asm.And.Imm(asm.R1, fragmentOffsetMask),
		asm.JNE.Imm(asm.R1, 0, labelOthers), // a later fragment has no ports
		asm.And.Imm(regTransport, 0x0f),
		asm.LSh.Imm(regTransport, 2),
		asm.JLT.Imm(regTransport, ipv4HeaderLen, labelOthers),
		asm.LoadMem(regProtocol, asm.RFP, stackHeader+ipv4Protocol, asm.Byte),
		asm.LoadMem(asm.R1, asm.RFP, stackHeader+ipv4Source, asm.Word),
		asm.LoadMem(asm.R2, asm.RFP, stackHeader+ipv4Dest, asm.Word),
	)
	ins = append(ins, storeMapped(stackSource, asm.R1)...)
	ins = append(ins, storeMapped(stackDest, asm.R2)...)
	// Where the two families meet again.
	return append(ins, asm.Mov.Imm(asm.R1, 0).WithSymbol("self protocol"))
}

// mappedPrefix are bytes 8 to 15 of ::ffff:0.0.0.0.
const mappedPrefix = 0xffff << 32

// storeMapped stores the IPv4 address in reg, in network order, as
// ::ffff:a.b.c.d.
func storeMapped(stack int16, reg asm.Register) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Imm(asm.R3, 0),
		asm.StoreMem(asm.RFP, stack, asm.R3, asm.DWord),
		asm.HostTo(asm.BE, reg, asm.Word),
		asm.LoadImm(asm.R3, mappedPrefix, asm.DWord),
		asm.Or.Reg(reg, asm.R3),
		asm.HostTo(asm.BE, reg, asm.DWord),
		asm.StoreMem(asm.RFP, stack+8, reg, asm.DWord),
	}
}

// excludeEndpoint jumps to labelExcluded if an endpoint has the port at
// stackPort with the address at stackAddr or with any address, else to no.
func (s *SelfTable) excludeEndpoint(stackAddr, stackPort int16, no string) asm.Instructions {
	ins := asm.Instructions{
		// Is the port's bit set?
		asm.LoadMem(regPort, asm.RFP, stackPort, asm.Half),
		asm.HostTo(asm.BE, regPort, asm.Half),
		asm.And.Imm(regPort, 0xffff), // verifiers lose the bound when bytes are swapped
		asm.Mov.Reg(asm.R2, regPort),
		asm.Mov.Reg(asm.R3, regPort),
		asm.RSh.Imm(asm.R2, 3),
		asm.And.Imm(asm.R3, 7),
		asm.LoadMapValue(asm.R1, s.ports.FD(), portsCountLen),
		asm.Add.Reg(asm.R1, asm.R2),
		asm.LoadMem(asm.R1, asm.R1, 0, asm.Byte),
		asm.RSh.Reg(asm.R1, asm.R3),
		asm.JSet.Imm(asm.R1, 1, no+" or"),
		asm.Ja.Label(no),
		// The key: address and port.
		asm.LoadMem(asm.R1, asm.RFP, stackAddr, asm.DWord).WithSymbol(no + " or"),
		asm.LoadMem(asm.R2, asm.RFP, stackAddr+8, asm.DWord),
		asm.StoreMem(asm.RFP, stackKey, asm.R1, asm.DWord),
		asm.StoreMem(asm.RFP, stackKey+8, asm.R2, asm.DWord),
		asm.StoreMem(asm.RFP, stackKey+endpointPortOffset, regPort, asm.DWord),
	}
	ins = append(ins, s.lookUp()...)
	ins = append(ins,
		asm.Mov.Imm(asm.R1, 0),
		asm.StoreMem(asm.RFP, stackKey, asm.R1, asm.DWord),
		asm.StoreMem(asm.RFP, stackKey+8, asm.R1, asm.DWord),
	)
	ins = append(ins, s.lookUp()...)
	return append(ins, asm.Ja.Label(no))
}

// lookUp jumps to labelExcluded if the key on the stack is an endpoint.
func (s *SelfTable) lookUp() asm.Instructions {
	return asm.Instructions{
		asm.LoadMapPtr(asm.R1, s.endpoints.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, stackKey),
		asm.FnMapLookupElem.Call(),
		asm.JNE.Imm(asm.R0, 0, labelExcluded),
	}
}
