package sockfilter

import (
	"math"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/net/bpf"
)

// Registers of translated programs. LD_ABS and LD_IND want the context in R6,
// put their result into R0 and destroy R1 to R5.
const (
	regA       = asm.R0
	regCtx     = asm.R6
	regX       = asm.R7
	regTmp     = asm.R8
	regUnknown = asm.R9 // 0, but the verifier doesn't know
)

// Offsets in struct __sk_buff (linux/bpf.h).
const (
	skbLen         = 0
	skbPktType     = 4
	skbMark        = 8
	skbQueue       = 12
	skbProtocol    = 16 // network order
	skbVLANPresent = 20
	skbVLANTCI     = 24
	skbVLANProto   = 28 // network order
	skbIfindex     = 40
	skbCB          = 48
	skbHash        = 68
)

// wholeFrame is the verdict that cuts nothing off. No client's verdict is as
// large, since the snap length isn't.
const (
	wholeFrame = math.MaxUint32
	wholeImm   = -1 // as an immediate operand
)

// Lengths of translated instructions in eBPF instructions, rounded up, to tell
// whether a jump fits 16 bits: the kernel expands loads of packet bytes
// (bpf_gen_ld_abs), so our own count won't do. A conditional jump always fits,
// since it skips 255 classic instructions at most.
const (
	maxLoadLen   = 24
	maxOtherLen  = 10
	maxShortJump = 30_000
)

// target is what a program is translated for.
type target struct {
	layout  *layout
	snapLen uint32
	// reach says that loads relative to the network header reach all of the
	// frame, see networkReach.
	reach bool
	// slots, if it isn't nil, has the epilogue to go on with.
	slots *ebpf.Map
}

// translation is the state of translating one program. All instructions that
// it emits, but for the last ones, are of single width, so that an index in out
// is the offset that jumps count in.
type translation struct {
	target
	code      []bpf.RawInstruction
	facts     *analysis
	undecided bool // some frames are left to user space
	sieve     bool // user space judges all that passes, so it passes whole
	at        int  // the classic instruction at hand
	out       asm.Instructions
	starts    []int // index in out, by classic instruction
	jumps     []jump
	passes    []int // jumps in out to the epilogue's call
	loads     int   // that the kernel expands
}

// jump is a jump in out whose distance isn't known yet.
type jump struct {
	at     int // index in out
	target int // classic instruction
}

// translate returns an eBPF program for the slot: client's program p with its
// verdict cut to the snap length. If exact is true, the kernel's verdict is p's.
// Otherwise it passes whole what p accepts, and some frames that p might
// refuse: user space judges them all.
//
// The verifier walks every way through a program unless it finds that it was
// in the same state before. Values that it knows or has bounds for make states
// differ, and a program of 255 instructions can be made to have 2²⁵⁰ of them.
// So wherever ways join, and in scratch memory, A and X are XORed with a 0
// that the verifier takes for unknown.
func (to target) translate(p *Program) (t *translation, exact bool) {
	t = to.attempt(p, false)
	if !t.undecided {
		return t, true
	}
	return to.attempt(p, true), false
}

func (to target) attempt(p *Program, sieve bool) *translation {
	t := &translation{
		target: to, code: p.code, facts: analyse(p.code, to.layout.ends),
		sieve: sieve, starts: make([]int, len(p.code)),
	}
	t.prologue()
	for i := range t.code {
		t.at, t.starts[i] = i, len(t.out)
		if t.facts.reachable[i] { // the verifier refuses dead code
			t.instruction(i)
		}
	}
	for _, j := range t.jumps {
		t.patch(j.at, t.starts[j.target])
	}
	t.finish()
	return t
}

// patch lets the jump at one index lead to another.
func (t *translation) patch(at, to int) {
	distance := to - at - 1
	if ins := &t.out[at]; ins.OpCode == longJump().OpCode {
		ins.Constant = int64(distance)
	} else {
		ins.Offset = int16(distance)
	}
}

// passAll is the program for a slot that passes every frame, cut to length.
func (to target) passAll(length uint32) asm.Instructions {
	t := &translation{target: to}
	t.emit(asm.Mov.Reg(regCtx, asm.R1))
	t.pass(length)
	t.finish()
	return t.out
}

func (t *translation) emit(ins ...asm.Instruction) { t.out = append(t.out, ins...) }

func (t *translation) prologue() {
	t.emit(
		asm.Mov.Reg(regCtx, asm.R1),
		// The kernel clears the control block before it runs a filter.
		asm.LoadMem(regUnknown, regCtx, skbCB, asm.Word),
		asm.Mov.Imm32(regA, 0),
		asm.Mov.Imm32(regX, 0),
	)
}

// skip makes jump pass over n instructions.
func skip(jump asm.Instruction, n int16) asm.Instruction {
	jump.Offset = n
	return jump
}

func (t *translation) instruction(i int) {
	if t.facts.joins[i] {
		if t.facts.liveA[i] {
			t.launder(regA)
		}
		if t.facts.liveX[i] {
			t.launder(regX)
		}
	}
	ins := t.code[i]
	switch ins.Op & classMask {
	case classLD, classLDX:
		t.load(i)
	case classST:
		t.launder(regA)
		t.emit(asm.StoreMem(asm.RFP, scratchOffset(ins.K), regA, asm.DWord))
	case classSTX:
		t.launder(regX)
		t.emit(asm.StoreMem(asm.RFP, scratchOffset(ins.K), regX, asm.DWord))
	case classALU:
		t.alu(ins)
	case classJMP:
		t.branch(i)
	case classRET:
		t.ret(ins)
	case classMISC:
		if ins.Op == opTAX {
			t.emit(asm.Mov.Reg32(regX, regA))
		} else {
			t.emit(asm.Mov.Reg32(regA, regX))
		}
	}
}

func (t *translation) launder(r asm.Register) { t.emit(asm.Xor.Reg32(r, regUnknown)) }

// scratchOffset returns where M[k] is on the stack, in a word of 8 bytes:
// without CAP_PERFMON, verifiers before Linux 6.8 refuse to write a part of a
// word that a register was stored in. Programs write each word before they
// read it (check), so that none needs to be cleared.
func scratchOffset(k uint32) int16 { return -8 * int16(k+1) }

func (t *translation) alu(ins bpf.RawInstruction) {
	op := aluOp(ins.Op)
	switch ins.Op {
	case opNeg: // its operand is ignored here and must be 0 there
		t.emit(op.Imm32(regA, 0))
		return
	case opDivX, opModX:
		t.refuseUnless(asm.JNE.Imm32(regX, 0, ""))
	case opLshX, opRshX:
		t.shift(op)
		return
	}
	if ins.Op&sourceX == 0 {
		t.emit(op.Imm32(regA, int32(ins.K)))
	} else {
		t.emit(op.Reg32(regA, regX))
	}
}

// shift shifts A by X. Left alone, eBPF shifts by X modulo 32.
func (t *translation) shift(op asm.ALUOp) {
	t.emit(
		skip(asm.JGE.Imm32(regX, shiftLimit, ""), 2),
		op.Reg32(regA, regX),
		skip(asm.Ja.Label(""), 2),
		asm.Mov.Imm32(regA, 0),
	)
	t.launder(regA)
}

func aluOp(op uint16) asm.ALUOp {
	switch op & aluMask {
	case aluADD:
		return asm.Add
	case aluSUB:
		return asm.Sub
	case aluMUL:
		return asm.Mul
	case aluDIV:
		return asm.Div
	case aluMOD:
		return asm.Mod
	case aluAND:
		return asm.And
	case aluOR:
		return asm.Or
	case aluXOR:
		return asm.Xor
	case aluLSH:
		return asm.LSh
	case aluRSH:
		return asm.RSh
	default:
		return asm.Neg
	}
}

// branch emits the jump instruction i, without what falls through anyway.
func (t *translation) branch(i int) {
	ins := t.code[i]
	switch {
	case ins.Op == opJump:
		t.jump(i, int(ins.K))
	case ins.Jt == ins.Jf:
		t.jump(i, int(ins.Jt))
	default:
		op, inverse := jumpOps(ins.Op)
		if ins.Jt == 0 && inverse != op {
			t.jumpIf(inverse, i, int(ins.Jf))
			return
		}
		t.jumpIf(op, i, int(ins.Jt))
		t.jump(i, int(ins.Jf))
	}
}

// jumpOps returns the condition of a conditional jump and its opposite, which
// JSET hasn't: then both are the same.
func jumpOps(op uint16) (jump, inverse asm.JumpOp) {
	switch op & jumpMask {
	case jumpJEQ:
		return asm.JEq, asm.JNE
	case jumpJGT:
		return asm.JGT, asm.JLE
	case jumpJGE:
		return asm.JGE, asm.JLT
	default:
		return asm.JSet, asm.JSet
	}
}

// jumpIf emits a jump from classic instruction i over over of its successors.
func (t *translation) jumpIf(op asm.JumpOp, i, over int) {
	t.jumps = append(t.jumps, jump{at: len(t.out), target: i + 1 + over})
	if ins := t.code[i]; ins.Op&sourceX != 0 {
		t.emit(op.Reg32(regA, regX, ""))
	} else {
		t.emit(op.Imm32(regA, int32(ins.K), ""))
	}
}

// jump is jumpIf without a condition.
func (t *translation) jump(i, over int) {
	if over == 0 {
		return
	}
	t.jumps = append(t.jumps, jump{at: len(t.out), target: i + 1 + over})
	t.emit(t.jumpAcross(i+1, i+1+over))
}

// jumpAcross returns a jump over classic instructions [from, to).
func (t *translation) jumpAcross(from, to int) asm.Instruction {
	if t.expandedLen(from, to) <= maxShortJump {
		return asm.Ja.Label("")
	}
	return longJump()
}

// longJump is a jump of 32 bits (Linux 6.6). An older kernel refuses the
// program, which is then left to the interpreter.
func longJump() asm.Instruction { return asm.LongJump("") }

// expandedLen returns an upper bound for the length of classic instructions
// [from, to) in the kernel, or some length beyond maxShortJump.
func (t *translation) expandedLen(from, to int) int {
	n := 0
	for i := from; i < to && n <= maxShortJump; i++ {
		switch t.code[i].Op & classMask {
		case classLD, classLDX:
			n += maxLoadLen
		default:
			n += maxOtherLen
		}
	}
	return n
}
