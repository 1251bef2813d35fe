package sockfilter

import (
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

const tcpSYN = 2

// A cutoff's value: how many bytes of payload the flow has had, and for TCP the
// sequence number of the first one. Each is 64 bits. The second never changes
// while a processor may look, so that there is nothing to read half changed.
const (
	countBytes = 0
	countBase  = 8
	countLen   = 16
)

// cutoff cuts frames of TCP and UDP whose payload starts beyond the limit
// behind their headers. UDP's counts what has come, TCP's sequence numbers do,
// so that what is repeated or lost changes nothing. A SYN starts anew.
//
// Several processors may deliver frames of one direction at the same time. A
// segment's place follows from its number and the first one's; what TCP counts
// only tells how often numbers have wrapped, so the last to write it may be any.
func (e *epilogue) cutoff(a *assembly, limit uint64) {
	a.emit(
		asm.JEq.Imm(regProto, protoUDP, "udp"),
		asm.JNE.Imm(regProto, protoTCP, labelPass),
	)
	e.cutoffTCP(a)
	a.emit(
		asm.LoadImm(asm.R1, signed(limit), asm.DWord),
		asm.JSLT.Reg(asm.R2, asm.R1, labelPass),
		asm.Ja.Label("cut"),
	)
	a.at("udp")
	e.cutoffUDP(a)
	a.emit(
		asm.LoadImm(asm.R1, signed(limit), asm.DWord),
		asm.JLT.Reg(asm.R2, asm.R1, labelPass),
	)
	a.at("cut")
	a.emit(
		// Frames that user space has to judge stay whole.
		asm.LoadMem(asm.R0, regCtx, skbVerdict, asm.Word),
		asm.Mov.Imm32(asm.R1, wholeImm),
		asm.JEq.Reg(asm.R0, asm.R1, labelPass),
		skip(asm.JLE.Reg(asm.R0, regOffset, ""), 1),
		asm.Mov.Reg(asm.R0, regOffset),
		asm.Return(),
	)
}

// cutoffTCP sets R2 to the place of the segment's payload in its direction of
// the connection, which may lie before the first that was seen.
func (e *epilogue) cutoffTCP(a *assembly) {
	a.loadBytes(4, stackBytes, 10, labelPass) // sequence, acknowledgement, length of the header, flags
	a.emit(
		asm.LoadMem(asm.R1, asm.RFP, stackBytes+8, asm.Byte),
		asm.RSh.Imm(asm.R1, 4),
		asm.LSh.Imm(asm.R1, 2),
		asm.JLT.Imm(asm.R1, 20, labelPass),
		asm.Add.Reg(regOffset, asm.R1),
		asm.LoadMem(regProto, asm.RFP, stackBytes+9, asm.Byte),
		asm.And.Imm(regProto, tcpSYN),
		asm.LoadMem(asm.R1, asm.RFP, stackBytes, asm.Word),
		asm.HostTo(asm.BE, asm.R1, asm.Word),
		skip(asm.JEq.Imm(regProto, 0, ""), 1),
		asm.Add.Imm32(asm.R1, 1), // a SYN has a number, too
		asm.StoreMem(asm.RFP, stackSeq, asm.R1, asm.DWord),
	)
	e.payload(a)
	a.emit(asm.JNE.Imm(regProto, 0, "first segment"))
	a.lookUp(e.payloads, stackFlow)
	a.emit(asm.JNE.Imm(asm.R0, 0, "known"))
	a.at("first segment")
	a.emit(
		asm.LoadMem(asm.R1, asm.RFP, stackPayload, asm.DWord),
		asm.StoreMem(asm.RFP, stackCount+countBytes, asm.R1, asm.DWord),
		asm.LoadMem(asm.R2, asm.RFP, stackSeq, asm.DWord),
		asm.StoreMem(asm.RFP, stackCount+countBase, asm.R2, asm.DWord),
		// But for a SYN, one that another processor has just entered stays.
		asm.Mov.Imm(asm.R4, unix.BPF_ANY),
		skip(asm.JNE.Imm(regProto, 0, ""), 1),
		asm.Mov.Imm(asm.R4, unix.BPF_NOEXIST),
	)
	a.update(e.payloads, stackFlow, stackCount)
	a.emit(asm.Ja.Label(labelPass))
	a.at("known")
	a.emit(
		asm.LoadMem(asm.R4, asm.R0, countBytes, asm.DWord),
		asm.LoadMem(asm.R2, asm.RFP, stackSeq, asm.DWord),
		asm.LoadMem(asm.R3, asm.R0, countBase, asm.DWord),
		asm.Sub.Reg(asm.R2, asm.R3),
		asm.Sub.Reg(asm.R2, asm.R4), // how far from the count, modulo 2³²
		asm.LSh.Imm(asm.R2, 32),
		asm.ArSh.Imm(asm.R2, 32),
		asm.Add.Reg(asm.R2, asm.R4),
		// R5: where it ends. One without payload counts nothing, whatever its
		// number.
		asm.LoadMem(asm.R1, asm.RFP, stackPayload, asm.DWord),
		asm.JEq.Imm(asm.R1, 0, "counted"),
		asm.Mov.Reg(asm.R5, asm.R2),
		asm.Add.Reg(asm.R5, asm.R1),
		asm.JSLE.Reg(asm.R5, asm.R4, "counted"),
		asm.StoreMem(asm.R0, countBytes, asm.R5, asm.DWord),
	)
	a.at("counted")
}

// cutoffUDP sets R2 to the payload of the datagrams before this one, and adds
// this one's. Each datagram gets a number of its own, whatever the processor.
func (e *epilogue) cutoffUDP(a *assembly) {
	a.emit(asm.Add.Imm(regOffset, 8))
	e.payload(a)
	a.lookUp(e.payloads, stackFlow)
	a.emit(
		asm.JNE.Imm(asm.R0, 0, "datagram"),
		asm.Mov.Imm(asm.R1, 0),
		asm.StoreMem(asm.RFP, stackCount+countBytes, asm.R1, asm.DWord),
		asm.StoreMem(asm.RFP, stackCount+countBase, asm.R1, asm.DWord),
		asm.Mov.Imm(asm.R4, unix.BPF_NOEXIST),
	)
	a.update(e.payloads, stackFlow, stackCount)
	a.lookUp(e.payloads, stackFlow)
	a.emit(asm.JEq.Imm(asm.R0, 0, labelPass)) // forgotten already
	a.at("datagram")
	a.emit(
		asm.LoadMem(asm.R2, asm.RFP, stackPayload, asm.DWord),
		atomic(asm.FetchAdd, asm.R0, asm.R2),
	)
}

// payload stores how much payload there is from regOffset on. Padding is none,
// nor is what was cut off.
func (e *epilogue) payload(a *assembly) {
	a.emit(
		asm.LoadMem(asm.R1, asm.RFP, stackEnd, asm.DWord),
		asm.LoadMem(asm.R2, regCtx, skbLen, asm.Word),
		skip(asm.JLE.Reg(asm.R1, asm.R2, ""), 1),
		asm.Mov.Reg(asm.R1, asm.R2),
		skip(asm.JGE.Reg(asm.R1, regOffset, ""), 1),
		asm.Mov.Reg(asm.R1, regOffset),
		asm.Sub.Reg(asm.R1, regOffset),
		asm.StoreMem(asm.RFP, stackPayload, asm.R1, asm.DWord),
	)
}
