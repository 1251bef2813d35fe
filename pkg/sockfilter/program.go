package sockfilter

import (
	"encoding/binary"
	"slices"

	"golang.org/x/net/bpf"
)

// Program is a valid classic BPF program. It is immutable and may be used by
// any number of goroutines.
type Program struct {
	code []bpf.RawInstruction
	// kernelOnly is the index of the first load whose value only the kernel
	// knows, -1 if there is none.
	kernelOnly int
	// userOnly says that there is a load that eBPF can't do.
	userOnly bool
}

// Compile validates prog, which it copies. The error is a [*ProgramError].
func Compile(prog []bpf.RawInstruction) (*Program, error) {
	if err := check(prog); err != nil {
		return nil, err
	}
	p := &Program{code: slices.Clone(prog), kernelOnly: -1}
	for i, ins := range p.code {
		if !isAncillary(ins) {
			continue
		}
		switch ins.K - offsetAncillary {
		case adMark, adQueue, adHash, adCPU, adRandom:
			if p.kernelOnly < 0 {
				p.kernelOnly = i
			}
		case adAttribute, adNestAttribute, adHardwareType, adPayloadOffset:
			p.userOnly = true
		}
	}
	return p, nil
}

// unsupported is the error for a program that would have to run in user space
// but can't.
func (p *Program) unsupported() error {
	return &UnsupportedError{Index: p.kernelOnly, Load: ancillaryName(p.code[p.kernelOnly].K)}
}

// Len returns the number of instructions.
func (p *Program) Len() int { return len(p.code) }

// Run is [Program.RunPacket] for a frame of which nothing but the bytes is
// known: a program that reads more finds zeros, and loads relative to the
// network header are out of range.
func (p *Program) Run(frame []byte, wireLen int) uint32 {
	return p.RunPacket(&Packet{Data: frame, Len: wireLen, NetworkOffset: -1})
}

// RunPacket interprets the program on a packet and returns its verdict: how
// many bytes of the frame to keep, 0 = none. It may exceed the length of the
// frame. A load out of range and a division by a zero X end the program with
// 0. RunPacket doesn't allocate.
func (p *Program) RunPacket(packet *Packet) uint32 {
	m := machine{packet: packet, frame: packet.Data}
	// Jumps only go forward and the last instruction returns (check), so this
	// ends within len(p.code) steps.
	for pc := 0; pc < len(p.code); pc++ {
		ins := &p.code[pc]
		switch ins.Op & classMask {
		case classLD, classLDX:
			if !m.load(ins) {
				return 0
			}
		case classST:
			m.scratch[ins.K%scratchWords] = m.a
		case classSTX:
			m.scratch[ins.K%scratchWords] = m.x
		case classALU:
			if !m.alu(ins) {
				return 0
			}
		case classJMP:
			pc += m.jump(ins)
		case classRET:
			if ins.Op == opRetA {
				return m.a
			}
			return ins.K
		case classMISC:
			if ins.Op == opTAX {
				m.x = m.a
			} else {
				m.a = m.x
			}
		}
	}
	return 0
}

// machine is the state of a classic BPF program.
type machine struct {
	a, x    uint32
	scratch [scratchWords]uint32
	packet  *Packet
	frame   []byte // packet.Data
}

// load does an instruction that loads A or X; false means out of range.
func (m *machine) load(ins *bpf.RawInstruction) bool {
	ok := true
	switch ins.Op {
	case opLoadAbsW, opLoadAbsH, opLoadAbsB:
		if ins.K >= offsetAncillary {
			m.ancillary(ins.K - offsetAncillary)
			return true
		}
		m.a, ok = m.sized(ins.Op, m.packet.offset(ins.K))
	case opLoadIndW, opLoadIndH, opLoadIndB:
		m.a, ok = m.sized(ins.Op, m.packet.offset(ins.K)+uint64(m.x))
	case opLoadXMSH:
		m.x, ok = m.byte(m.packet.offset(ins.K))
		m.x = m.x & mshLengthMask * 4
	case opLoadImm:
		m.a = ins.K
	case opLoadXImm:
		m.x = ins.K
	case opLoadMem:
		m.a = m.scratch[ins.K%scratchWords]
	case opLoadXMem:
		m.x = m.scratch[ins.K%scratchWords]
	case opLoadLen:
		m.a = uint32(m.packet.Len)
	case opLoadXLen:
		m.x = uint32(m.packet.Len)
	}
	return ok
}

// sized loads as many bytes as an opcode says.
func (m *machine) sized(op uint16, offset uint64) (uint32, bool) {
	switch op & sizeMask {
	case sizeH:
		return m.half(offset)
	case sizeB:
		return m.byte(offset)
	default:
		return m.word(offset)
	}
}

func (m *machine) word(offset uint64) (uint32, bool) {
	if offset+4 > uint64(len(m.frame)) {
		return 0, false
	}
	return binary.BigEndian.Uint32(m.frame[offset:]), true
}

func (m *machine) half(offset uint64) (uint32, bool) {
	if offset+2 > uint64(len(m.frame)) {
		return 0, false
	}
	return uint32(binary.BigEndian.Uint16(m.frame[offset:])), true
}

func (m *machine) byte(offset uint64) (uint32, bool) {
	if offset >= uint64(len(m.frame)) {
		return 0, false
	}
	return uint32(m.frame[offset]), true
}

// alu does an arithmetic instruction; false means division by zero.
func (m *machine) alu(ins *bpf.RawInstruction) bool {
	operand := ins.K
	if ins.Op&sourceX != 0 {
		operand = m.x
	}
	switch ins.Op & aluMask {
	case aluADD:
		m.a += operand
	case aluSUB:
		m.a -= operand
	case aluMUL:
		m.a *= operand
	case aluDIV:
		if operand == 0 {
			return false
		}
		m.a /= operand
	case aluMOD:
		if operand == 0 {
			return false
		}
		m.a %= operand
	case aluAND:
		m.a &= operand
	case aluOR:
		m.a |= operand
	case aluXOR:
		m.a ^= operand
	case aluLSH:
		m.a <<= operand // 0 from 32 on, in Go
	case aluRSH:
		m.a >>= operand
	case aluNEG:
		m.a = -m.a
	}
	return true
}

// jump returns how many instructions to skip.
func (m *machine) jump(ins *bpf.RawInstruction) int {
	operand := ins.K
	if ins.Op&sourceX != 0 {
		operand = m.x
	}
	var taken bool
	switch ins.Op & jumpMask {
	case jumpJA:
		return int(ins.K)
	case jumpJEQ:
		taken = m.a == operand
	case jumpJGT:
		taken = m.a > operand
	case jumpJGE:
		taken = m.a >= operand
	case jumpJSET:
		taken = m.a&operand != 0
	}
	if taken {
		return int(ins.Jt)
	}
	return int(ins.Jf)
}
