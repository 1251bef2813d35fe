package sockfilter

import (
	"fmt"

	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// Registers of a dissector.
const (
	regOffset = asm.R7 // of the header at hand, from the start of the kernel's frame
	regProto  = asm.R8 // of the transport header
)

// Stack of a dissector, apart from that of self-exclusion, which may be part of
// the same program: see stackHeader for why.
const (
	stackFlow     = -112 // a flowKey, 40 bytes
	stackFlowDest = stackFlow + 16
	stackFlowMore = stackFlow + 32 // source port, destination port << 16, protocol << 32
	stackIP       = -160           // an IP header, 40 bytes
	stackBytes    = -176           // 16 bytes
	stackStart    = -186           // EtherType and the first 8 bytes behind it
	stackStartIP  = stackStart + 2
	stackNetwork  = -200 // first 8 bytes of the network header
	stackEnd      = -208 // offset of the IP packet's end
	stackIdent    = -216 // what tells IP packets of a flow apart
	stackMix      = -232 // two numbers of the flow hash
)

const (
	// maxNesting bounds IP headers inside a frame: a tunnel's, the packet's,
	// and that of the packet that an ICMP error is about.
	maxNesting = 3
	// maxExtensions bounds IPv6 extension headers.
	maxExtensions = 3

	portVXLAN  = 4789
	portGeneve = 6081
)

// dissector finds the flow that a frame belongs to, and goes on at found, with
// the flow's key on the stack and the transport header's protocol and offset in
// the registers; or at none.
type dissector struct {
	assembly
	errors      bool // a packet that an ICMP error is about counts as the packet
	found, none string
}

func (d *dissector) here(what string, nesting int) string { return fmt.Sprint(what, " ", nesting) }

// dissect emits the dissector.
//
// The network header is looked for behind an Ethernet header, VLAN tags
// included, and where there is none, at the start of the frame: what tells is
// whether the EtherType agrees with the kernel's, and the bytes behind it with
// those at the network header.
func (d *dissector) dissect() {
	d.emit(asm.LoadMem(regProto, regCtx, skbProtocol, asm.Word), asm.Mov.Imm(regOffset, 12))
	d.loadBytes(0, stackStart, 10, "no ethernet")
	d.emit(
		asm.LoadMem(asm.R1, asm.RFP, stackStart, asm.Half),
		asm.JNE.Reg(asm.R1, regProto, "no ethernet"),
		asm.HostTo(asm.BE, regProto, asm.Half),
		asm.Mov.Imm(regOffset, 14),
		asm.JEq.Imm(regProto, etherTypeVLAN, "tag"),
		asm.JEq.Imm(regProto, etherTypeQinQ, "tag"),
		asm.Mov.Reg(asm.R1, regCtx),
		asm.Mov.Imm(asm.R2, 0),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, stackNetwork),
		asm.Mov.Imm(asm.R4, 8),
		asm.Mov.Imm(asm.R5, startNetwork),
		asm.FnSkbLoadBytesRelative.Call(),
		asm.JNE.Imm(asm.R0, 0, d.here("ip", 0)), // in another piece of memory, as a network card may do
		asm.LoadMem(asm.R1, asm.RFP, stackStartIP, asm.DWord),
		asm.LoadMem(asm.R2, asm.RFP, stackNetwork, asm.DWord),
		asm.JEq.Reg(asm.R1, asm.R2, d.here("ip", 0)),
	)
	d.at("no ethernet")
	d.emit(asm.Mov.Imm(regOffset, 0), asm.Ja.Label(d.here("ip", 0)))
	d.tags()
	for nesting := range maxNesting {
		d.ip(nesting)
		d.transport(nesting, nesting == maxNesting-1)
	}
}

// launder makes the verifier forget what it knows of a register, as
// translations do, where many ways with different values meet.
func (d *dissector) launder(r asm.Register) {
	d.emit(asm.LoadMem(asm.R2, regCtx, skbCB, asm.Word), asm.Xor.Reg(r, asm.R2))
}

// tags passes up to two tags that are among the frame's bytes.
func (d *dissector) tags() {
	d.at("tag")
	for range 2 {
		d.loadBytes(2, stackBytes, 2, d.none)
		d.half(asm.R1, stackBytes)
		d.emit(asm.Add.Imm(regOffset, 4))
		d.toIP(0)
	}
	d.emit(asm.Ja.Label(d.none))
}

// toIP goes to the next IP header if R1 is its EtherType.
func (d *dissector) toIP(nesting int) {
	d.emit(
		asm.JEq.Imm(asm.R1, etherTypeIPv4, d.here("ip", nesting)),
		asm.JEq.Imm(asm.R1, etherTypeIPv6, d.here("ip", nesting)),
	)
}

func (d *dissector) ip(nesting int) {
	d.at(d.here("ip", nesting))
	d.launder(regOffset)
	d.loadBytes(0, stackIP, ipv4HeaderLen, d.none)
	d.emit(
		asm.LoadMem(regProto, asm.RFP, stackIP, asm.Byte),
		asm.Mov.Reg(asm.R1, regProto),
		asm.RSh.Imm(asm.R1, 4),
		asm.JEq.Imm(asm.R1, 4, d.here("ipv4", nesting)),
		asm.JNE.Imm(asm.R1, 6, d.none),
	)
	d.loadBytes(0, stackIP, ipv6HeaderLen, d.none)
	d.ipv6(nesting)
	d.at(d.here("ipv4", nesting))
	d.ipv4()
}

func (d *dissector) ipv4() {
	d.emit(asm.And.Imm(regProto, 0x0f), asm.LSh.Imm(regProto, 2), asm.JLT.Imm(regProto, ipv4HeaderLen, d.none))
	d.half(asm.R1, stackIP+ipv4FragmentOffset)
	d.emit(asm.And.Imm(asm.R1, ipv4FragMask), asm.JNE.Imm(asm.R1, 0, d.none))
	d.half(asm.R1, stackIP+2)
	d.half(asm.R2, stackIP+4)
	d.emit(asm.LSh.Imm(asm.R2, 16), asm.Or.Reg(asm.R2, asm.R1), asm.StoreMem(asm.RFP, stackIdent, asm.R2, asm.DWord))
	d.packetEnd(0)
	d.emit(
		asm.LoadMem(asm.R1, asm.RFP, stackIP+ipv4Source, asm.Word),
		asm.LoadMem(asm.R2, asm.RFP, stackIP+ipv4Dest, asm.Word),
	)
	d.emit(storeMapped(stackFlow, asm.R1)...)
	d.emit(storeMapped(stackFlowDest, asm.R2)...)
	d.emit(asm.Add.Reg(regOffset, regProto), asm.LoadMem(regProto, asm.RFP, stackIP+ipv4Protocol, asm.Byte))
}

func (d *dissector) ipv6(nesting int) {
	d.half(asm.R1, stackIP+4)
	d.emit(
		asm.LoadMem(asm.R2, asm.RFP, stackIP, asm.Word),
		asm.LSh.Imm(asm.R2, 16),
		asm.Or.Reg(asm.R2, asm.R1),
		asm.StoreMem(asm.RFP, stackIdent, asm.R2, asm.DWord),
	)
	d.packetEnd(ipv6HeaderLen)
	for i := int16(0); i < 32; i += 8 {
		d.emit(
			asm.LoadMem(asm.R1, asm.RFP, stackIP+8+i, asm.DWord),
			asm.StoreMem(asm.RFP, stackFlow+i, asm.R1, asm.DWord),
		)
	}
	d.emit(asm.LoadMem(regProto, asm.RFP, stackIP+ipv6NextHeader, asm.Byte), asm.Add.Imm(regOffset, ipv6HeaderLen))
	for i := range maxExtensions {
		d.extension(nesting, i)
	}
	d.emit(asm.Ja.Label(d.here("transport", nesting)))
}

// extension passes one extension header, or goes to the transport header.
func (d *dissector) extension(nesting, i int) {
	here := func(what string) string { return d.here(what, nesting*maxExtensions+i) }
	for _, p := range []int32{protoHopByHop, protoRouting, protoDestOpts, protoAuth} {
		d.emit(asm.JEq.Imm(regProto, p, here("options")))
	}
	d.emit(asm.JNE.Imm(regProto, protoFragment, d.here("transport", nesting)))
	d.loadBytes(0, stackBytes, 4, d.none)
	d.half(asm.R1, stackBytes+2)
	d.emit(
		asm.And.Imm(asm.R1, ipv6OffsetMask|1), // the offset, and more fragments
		asm.JNE.Imm(asm.R1, 0, d.none),
		asm.Mov.Imm(asm.R1, 8),
		asm.Ja.Label(here("extension")),
	)
	d.at(here("options"))
	d.loadBytes(0, stackBytes, 2, d.none)
	d.emit(
		asm.LoadMem(asm.R1, asm.RFP, stackBytes+1, asm.Byte),
		asm.Add.Imm(asm.R1, 1),
		asm.LSh.Imm(asm.R1, 3),
		asm.JNE.Imm(regProto, protoAuth, here("extension")),
		asm.RSh.Imm(asm.R1, 1), // in words of 4 bytes, and another one
		asm.Add.Imm(asm.R1, 4),
	)
	d.at(here("extension"))
	d.launder(regOffset)
	d.emit(asm.Add.Reg(regOffset, asm.R1), asm.LoadMem(regProto, asm.RFP, stackBytes, asm.Byte))
}

// packetEnd stores where the packet ends, by the length in R1, which doesn't
// count headerLen bytes. Super-frames beyond 64 KiB have 0 there.
func (d *dissector) packetEnd(headerLen int32) {
	d.emit(
		asm.LoadMem(asm.R2, regCtx, skbLen, asm.Word),
		skip(asm.JEq.Imm(asm.R1, 0, ""), 3),
		asm.Mov.Reg(asm.R2, regOffset),
		asm.Add.Reg(asm.R2, asm.R1),
		asm.Add.Imm(asm.R2, headerLen),
		asm.StoreMem(asm.RFP, stackEnd, asm.R2, asm.DWord),
	)
}

// transport reads the ports, or goes on with a packet inside this one.
func (d *dissector) transport(nesting int, last bool) {
	d.at(d.here("transport", nesting))
	d.launder(regOffset)
	d.launder(regProto)
	d.emit(
		asm.Mov.Reg(asm.R1, regProto),
		asm.LSh.Imm(asm.R1, 32),
		asm.StoreMem(asm.RFP, stackFlowMore, asm.R1, asm.DWord),
	)
	for _, p := range []int32{protoTCP, protoUDP, protoSCTP, protoDCCP, protoUDPLite} {
		d.emit(asm.JEq.Imm(regProto, p, d.here("ports", nesting)))
	}
	if last {
		d.emit(asm.Ja.Label(d.found))
	} else {
		d.inside(nesting)
	}
	d.at(d.here("ports", nesting))
	d.loadBytes(0, stackBytes, 4, d.none)
	d.half(asm.R1, stackBytes)
	d.half(asm.R2, stackBytes+2)
	d.emit(
		asm.Mov.Reg(asm.R3, asm.R2),
		asm.LSh.Imm(asm.R3, 16),
		asm.Or.Reg(asm.R3, asm.R1),
		asm.Mov.Reg(asm.R1, regProto),
		asm.LSh.Imm(asm.R1, 32),
		asm.Or.Reg(asm.R3, asm.R1),
		asm.StoreMem(asm.RFP, stackFlowMore, asm.R3, asm.DWord),
	)
	if last {
		d.emit(asm.Ja.Label(d.found))
	} else {
		d.udpTunnels(nesting)
	}
}

// inside goes on with what IP, GRE and ICMP errors carry.
func (d *dissector) inside(nesting int) {
	d.emit(
		asm.JEq.Imm(regProto, protoIPv4, d.here("ip", nesting+1)),
		asm.JEq.Imm(regProto, protoIPv6, d.here("ip", nesting+1)),
		asm.JEq.Imm(regProto, protoGRE, d.here("gre", nesting)),
	)
	if d.errors {
		d.emit(
			asm.JEq.Imm(regProto, protoICMP, d.here("icmp", nesting)),
			asm.JNE.Imm(regProto, protoICMPv6, d.found),
		)
		d.loadBytes(0, stackBytes, 1, d.none)
		d.emit(
			asm.LoadMem(asm.R1, asm.RFP, stackBytes, asm.Byte),
			asm.JEq.Imm(asm.R1, 0, d.found),
			asm.JGT.Imm(asm.R1, 4, d.found), // 1 to 4 are the errors that carry a packet
			asm.Ja.Label(d.here("error", nesting)),
		)
		d.at(d.here("icmp", nesting))
		d.loadBytes(0, stackBytes, 1, d.none)
		d.emit(asm.LoadMem(asm.R1, asm.RFP, stackBytes, asm.Byte))
		for _, typ := range []int32{3, 4, 5, 11, 12} { // RFC 792
			d.emit(asm.JEq.Imm(asm.R1, typ, d.here("error", nesting)))
		}
	}
	d.emit(asm.Ja.Label(d.found))
	if d.errors {
		d.at(d.here("error", nesting))
		d.emit(asm.Add.Imm(regOffset, 8), asm.Ja.Label(d.here("ip", nesting+1)))
	}
	d.gre(nesting)
}

// gre passes a GRE header (RFC 2784, RFC 2890).
func (d *dissector) gre(nesting int) {
	d.at(d.here("gre", nesting))
	d.loadBytes(0, stackBytes, 4, d.none)
	d.half(asm.R1, stackBytes)
	d.emit(
		asm.Mov.Reg(asm.R2, asm.R1),
		asm.And.Imm(asm.R2, 0x4007), // routing, or another version
		asm.JNE.Imm(asm.R2, 0, d.none),
		asm.Add.Imm(regOffset, 4),
	)
	for _, flag := range []int32{0x8000, 0x2000, 0x1000} { // checksum, key, sequence number
		d.emit(
			asm.Mov.Reg(asm.R2, asm.R1),
			asm.And.Imm(asm.R2, flag),
			skip(asm.JEq.Imm(asm.R2, 0, ""), 1),
			asm.Add.Imm(regOffset, 4),
		)
	}
	d.half(asm.R1, stackBytes+2)
	d.at(d.here("inner", nesting))
	d.toIP(nesting + 1)
	d.emit(asm.JNE.Imm(asm.R1, etherTypeTEB, d.none))
	d.at(d.here("ethernet", nesting))
	d.loadBytes(12, stackBytes, 2, d.none)
	d.half(asm.R1, stackBytes)
	d.emit(asm.Add.Imm(regOffset, 14))
	d.toIP(nesting + 1)
	d.emit(asm.Ja.Label(d.none))
}

// udpTunnels goes on with what VXLAN (RFC 7348) and Geneve (RFC 8926) carry.
// The destination port is in R2.
func (d *dissector) udpTunnels(nesting int) {
	d.emit(
		asm.JNE.Imm(regProto, unix.IPPROTO_UDP, d.found),
		asm.JEq.Imm(asm.R2, portGeneve, d.here("geneve", nesting)),
		asm.JNE.Imm(asm.R2, portVXLAN, d.found),
		asm.Add.Imm(regOffset, 16), // both headers have 8 bytes
		asm.Ja.Label(d.here("ethernet", nesting)),
	)
	d.at(d.here("geneve", nesting))
	d.loadBytes(8, stackBytes, 4, d.none)
	d.half(asm.R1, stackBytes+2)
	d.emit(
		asm.LoadMem(asm.R2, asm.RFP, stackBytes, asm.Byte),
		asm.And.Imm(asm.R2, 0x3f), // length of the options, in words
		asm.LSh.Imm(asm.R2, 2),
		asm.Add.Reg(regOffset, asm.R2),
		asm.Add.Imm(regOffset, 16),
		asm.Ja.Label(d.here("inner", nesting)),
	)
}
