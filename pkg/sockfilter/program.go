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
}

// Compile validates prog, which it copies. The error is a [*ProgramError] for
// an invalid program, an [*UnsupportedError] for a valid one that we can't
// run.
func Compile(prog []bpf.RawInstruction) (*Program, error) {
	if err := check(prog); err != nil {
		return nil, err
	}
	return &Program{code: slices.Clone(prog)}, nil
}

// Len returns the number of instructions.
func (p *Program) Len() int { return len(p.code) }

// Run interprets the program on a frame and returns its verdict: how many
// bytes of the frame to keep, 0 = none. It may exceed the length of the frame.
// wireLen is what the program reads as the frame's length; the bytes that it
// can load are those in frame. A load out of range and a division by a zero X
// end the program with 0. Run doesn't allocate.
func (p *Program) Run(frame []byte, wireLen int) uint32 {
	m := machine{frame: frame, length: uint32(wireLen)}
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
	frame   []byte
	length  uint32
}

// load does an instruction that loads A or X; false means out of range.
func (m *machine) load(ins *bpf.RawInstruction) bool {
	ok := true
	switch ins.Op {
	case opLoadAbsW:
		m.a, ok = m.word(uint64(ins.K))
	case opLoadAbsH:
		m.a, ok = m.half(uint64(ins.K))
	case opLoadAbsB:
		m.a, ok = m.byte(uint64(ins.K))
	case opLoadIndW:
		m.a, ok = m.word(uint64(m.x) + uint64(ins.K))
	case opLoadIndH:
		m.a, ok = m.half(uint64(m.x) + uint64(ins.K))
	case opLoadIndB:
		m.a, ok = m.byte(uint64(m.x) + uint64(ins.K))
	case opLoadXMSH:
		m.x, ok = m.byte(uint64(ins.K))
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
		m.a = m.length
	case opLoadXLen:
		m.x = m.length
	}
	return ok
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
