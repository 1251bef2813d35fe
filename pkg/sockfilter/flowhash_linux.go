package sockfilter

import (
	"fmt"

	"github.com/cilium/ebpf/asm"
)

// Shard is one of Count parts of the traffic; the zero value is all of it. The
// part of a frame is the hash of its flow modulo Count, where the hash is that
// of pkg/flow's Key.Hash, so both directions of a connection are in one part.
//
// The flow is that of the innermost of up to three IP headers: packets in
// VXLAN, Geneve, GRE and IP-in-IP tunnels count as what they carry, and ICMP
// errors as the packet they are about. Protocols without ports have port 0.
// What belongs to no flow is in part 0: frames that aren't IP, fragments
// (first ones included, so that a packet's fragments stay together), headers
// that are cut short, IPv6 with more than three extension headers before the
// ports.
type Shard struct {
	Index, Count int
}

// maxShards bounds Shard.Count and Config.Flows.
const maxShards = 1 << 16

func (s Shard) validate() error {
	if s != (Shard{}) && (s.Count < 1 || s.Count > maxShards || s.Index < 0 || s.Index >= s.Count) {
		return fmt.Errorf("sockfilter: shard %d of %d: want 0 to n-1 of 1 to %d", s.Index, s.Count, maxShards)
	}
	return nil
}

// Odd constants of pkg/flow's hash.
const (
	mul0 = 0xa0761d6478bd642f
	mul1 = 0xe7037ed1a0b428db
	mul2 = 0x8ebc6af09c88c6e3
)

// signed is v as an immediate operand.
func signed(v uint64) int64 { return int64(v) }

// regHash keeps the flow hash.
const regHash = asm.R7

// selectFlow goes on at labelClient with frames of the wanted shard and of the
// wanted connections, with others at labelExcluded or labelOtherFlow.
func (c *Config) selectFlow() asm.Instructions {
	d := dissector{errors: true, found: "flow", none: "no flow"}
	d.dissect()
	d.at("flow")
	flowHash(&d.assembly)
	if c.Shard.Count > 1 {
		d.emit(
			asm.Mov.Reg(asm.R1, regHash),
			asm.Mod.Imm(asm.R1, int32(c.Shard.Count)),
			asm.JNE.Imm(asm.R1, int32(c.Shard.Index), labelExcluded),
		)
	}
	if c.Flows > 1 {
		d.emit(
			asm.RSh.Imm(regHash, 32), // other bits than a shard's
			asm.Mod.Imm(regHash, int32(c.Flows)),
			asm.JNE.Imm(regHash, 0, labelOtherFlow),
		)
	}
	d.emit(asm.Ja.Label(labelClient))
	d.at("no flow")
	switch {
	case c.Shard.Index != 0:
		d.emit(asm.Ja.Label(labelExcluded))
	case c.Flows > 1:
		d.emit(asm.Ja.Label(labelOtherFlow))
	default:
		d.emit(asm.Ja.Label(labelClient))
	}
	return d.ins
}

// flowHash leaves the hash of the flow on the stack in regHash. The ends of a
// flow are hashed in the order of pkg/flow's Key: by address, then port.
func flowHash(a *assembly) {
	const regA, regB = asm.R7, asm.R8 // addresses of the lower and the higher end
	a.emit(
		asm.Mov.Reg(regA, asm.RFP),
		asm.Add.Imm(regA, stackFlow),
		asm.Mov.Reg(regB, asm.RFP),
		asm.Add.Imm(regB, stackFlowDest),
		asm.LoadMem(asm.R3, asm.RFP, stackFlowMore, asm.DWord),
		asm.Mov.Reg(asm.R4, asm.R3),
		asm.RSh.Imm(asm.R4, 16),
		asm.And.Imm(asm.R3, 0xffff), // source port
		asm.And.Imm(asm.R4, 0xffff), // destination port
	)
	for _, offset := range []int16{0, 8} {
		a.emit(
			asm.LoadMem(asm.R1, regA, offset, asm.DWord),
			asm.HostTo(asm.BE, asm.R1, asm.DWord),
			asm.LoadMem(asm.R2, regB, offset, asm.DWord),
			asm.HostTo(asm.BE, asm.R2, asm.DWord),
			asm.JLT.Reg(asm.R1, asm.R2, "in order"),
			asm.JGT.Reg(asm.R1, asm.R2, "swap"),
		)
	}
	a.emit(asm.JLE.Reg(asm.R3, asm.R4, "in order"))
	a.at("swap")
	a.emit(
		asm.Mov.Reg(regA, asm.RFP),
		asm.Add.Imm(regA, stackFlowDest),
		asm.Mov.Reg(regB, asm.RFP),
		asm.Add.Imm(regB, stackFlow),
		asm.Mov.Reg(asm.R1, asm.R3),
		asm.Mov.Reg(asm.R3, asm.R4),
		asm.Mov.Reg(asm.R4, asm.R1),
	)
	a.at("in order")
	a.emit(
		asm.LSh.Imm(asm.R3, 16),
		asm.Xor.Reg(asm.R3, asm.R4),
		asm.StoreMem(asm.RFP, stackMix, asm.R3, asm.DWord),
	)
	mixEnd(a, regA, mul0, mul1)
	a.emit(asm.StoreMem(asm.RFP, stackMix+8, asm.R0, asm.DWord))
	mixEnd(a, regB, mul1, mul2)
	a.emit(
		asm.Mov.Reg(asm.R2, asm.R0),
		asm.LoadImm(asm.R3, signed(mul0), asm.DWord),
		asm.Xor.Reg(asm.R2, asm.R3),
		asm.LoadMem(asm.R1, asm.RFP, stackMix+8, asm.DWord),
		asm.LoadMem(asm.R3, asm.RFP, stackMix, asm.DWord),
		asm.Xor.Reg(asm.R1, asm.R3),
	)
	mix(a)
	a.emit(asm.Mov.Reg(regHash, asm.R0))
}

// mixEnd mixes the address at a register, each half with a constant.
func mixEnd(a *assembly, address asm.Register, first, second uint64) {
	for i, r := range []asm.Register{asm.R1, asm.R2} {
		a.emit(
			asm.LoadMem(r, address, int16(8*i), asm.DWord),
			asm.HostTo(asm.LE, r, asm.DWord),
			asm.LoadImm(asm.R3, signed([]uint64{first, second}[i]), asm.DWord),
			asm.Xor.Reg(r, asm.R3),
		)
	}
	mix(a)
}

// mix sets R0 to the folded 128-bit product of R1 and R2, from the products of
// their halves. It destroys R1 to R5.
func mix(a *assembly) {
	a.emit(
		asm.Mov.Reg(asm.R0, asm.R1),
		asm.Mul.Reg(asm.R0, asm.R2),
		asm.Mov.Reg32(asm.R3, asm.R1), // low half of the one
		asm.RSh.Imm(asm.R1, 32),
		asm.Mov.Reg32(asm.R4, asm.R2), // low half of the other
		asm.RSh.Imm(asm.R2, 32),
		asm.Mov.Reg(asm.R5, asm.R3),
		asm.Mul.Reg(asm.R5, asm.R4),
		asm.RSh.Imm(asm.R5, 32),
		asm.Mul.Reg(asm.R4, asm.R1),
		asm.Add.Reg(asm.R4, asm.R5),
		asm.Mul.Reg(asm.R3, asm.R2),
		asm.Mov.Reg32(asm.R5, asm.R4),
		asm.Add.Reg(asm.R3, asm.R5),
		asm.Mul.Reg(asm.R1, asm.R2),
		asm.RSh.Imm(asm.R4, 32),
		asm.RSh.Imm(asm.R3, 32),
		asm.Add.Reg(asm.R1, asm.R4),
		asm.Add.Reg(asm.R1, asm.R3),
		asm.Xor.Reg(asm.R0, asm.R1),
	)
}
