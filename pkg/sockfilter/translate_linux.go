package sockfilter

import (
	"math"

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

// Jumps of 16 bits are used up to this length. The kernel expands each load by
// at most so many instructions (bpf_gen_ld_abs), so our own count won't do.
const (
	maxShortJump = 32_000
	maxGrowth    = 12
)

// target is what a program is translated for.
type target struct {
	layout  *layout
	snapLen uint32
	// reach says that loads relative to the network header reach all of the
	// frame, see networkReach.
	reach bool
	// end, if there is one, is what the program goes on with when it accepts a
	// frame, the verdict being in R0; else it returns.
	end asm.Instructions
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
	out       asm.Instructions
	starts    []start // by classic instruction, and for the program's end
	jumps     []jump
	loads     int  // that the kernel expands
	tooFar    bool // a conditional jump can't reach
}

// jump is a jump in out whose distance isn't known yet.
type jump struct {
	at     int // index in out
	loads  int // before it
	target int // classic instruction; their number stands for the program's end
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
		sieve: sieve, starts: make([]start, len(p.code)+1),
	}
	t.prologue()
	for i := range t.code {
		t.starts[i] = start{len(t.out), t.loads}
		if t.facts.reachable[i] { // the verifier refuses dead code
			t.instruction(i)
		}
	}
	t.finish()
	return t
}

// start is where in out a classic instruction starts.
type start struct {
	index int
	loads int // before it
}

// jumpTo emits a jump to a classic instruction.
func (t *translation) jumpTo(ins asm.Instruction, target int) {
	t.jumps = append(t.jumps, jump{at: len(t.out), loads: t.loads, target: target})
	t.emit(ins)
}

// patch lets jumps lead to where their targets have been found to be. Before
// Linux 6.6 there are no jumps of 32 bits: it refuses the program, which is then
// left to the interpreter.
func (t *translation) patch() {
	for _, j := range t.jumps {
		to, ins := t.starts[j.target], &t.out[j.at]
		distance := to.index - j.at - 1
		switch {
		case distance+(to.loads-j.loads)*maxGrowth <= maxShortJump:
			ins.Offset = int16(distance)
		case ins.OpCode.JumpOp() == asm.Ja:
			*ins = asm.LongJump("")
			ins.Constant = int64(distance)
		default:
			t.tooFar = true
		}
	}
}

// passAll is the program for a slot that passes every frame, cut to length.
func (to target) passAll(length uint32) asm.Instructions {
	t := &translation{target: to, starts: make([]start, 1)}
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
	if ins := t.code[i]; ins.Op&sourceX != 0 {
		t.jumpTo(op.Reg32(regA, regX, ""), i+1+over)
	} else {
		t.jumpTo(op.Imm32(regA, int32(ins.K), ""), i+1+over)
	}
}

// jump is jumpIf without a condition.
func (t *translation) jump(i, over int) {
	if over == 0 {
		return
	}
	t.jumpTo(asm.Ja.Label(""), i+1+over)
}
