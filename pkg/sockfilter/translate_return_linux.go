package sockfilter

import (
	"math"
	"slices"

	"github.com/cilium/ebpf/asm"
	"golang.org/x/net/bpf"
)

// refuse ends the program with 0.
func (t *translation) refuse() {
	t.emit(asm.Mov.Imm32(asm.R0, 0), asm.Return())
}

// refuseUnless ends the program with 0 unless jump is taken.
func (t *translation) refuseUnless(jump asm.Instruction) {
	t.emit(skip(jump, 2))
	t.refuse()
}

// leave ends the program by leaving the frame to user space. It is two
// instructions long.
func (t *translation) leave() {
	t.undecided = true
	t.pass(wholeFrame)
}

// pass ends the program with a verdict. It is two instructions long.
func (t *translation) pass(verdict uint32) {
	t.emit(asm.Mov.Imm32(asm.R0, int32(verdict)))
	t.passR0()
}

// passR0 ends the program with the verdict in R0, which isn't 0. It is one
// instruction long.
func (t *translation) passR0() {
	if t.end == nil {
		t.emit(asm.Return())
		return
	}
	t.jumpTo(asm.Ja.Label(""), len(t.code))
}

// finish appends what passR0 leads to and completes the jumps.
func (t *translation) finish() {
	t.starts[len(t.code)] = start{len(t.out), t.loads}
	t.patch()
	// The verifier refuses what nothing leads to.
	if slices.ContainsFunc(t.jumps, func(j jump) bool { return j.target == len(t.code) }) {
		t.emit(t.end...)
	}
}

// ret returns the verdict.
func (t *translation) ret(ins bpf.RawInstruction) {
	switch {
	case ins.Op == opRetK && ins.K == 0:
		t.refuse()
	case t.sieve:
		t.retSieve(ins)
	case ins.Op == opRetK:
		t.retConstant(ins.K)
	default:
		t.retA()
	}
}

// retSieve passes whole whatever the program accepts.
func (t *translation) retSieve(ins bpf.RawInstruction) {
	if ins.Op == opRetA {
		t.refuseUnless(asm.JNE.Imm32(regA, 0, ""))
	}
	t.leave()
}

// keep returns how many bytes of the kernel's frame make verdict bytes of the
// client's; ok is false if that depends, or isn't a number of whole bytes.
func (t *target) keep(verdict uint32) (n uint32, ok bool) {
	l := t.layout
	switch {
	case verdict >= t.snapLen:
		return t.keepSnapLen(), true
	case l.grown < 0:
		return 0, false
	case l.grown == 0 || verdict < tagOffset:
		return verdict, true
	case verdict < tagOffset+tagLen:
		return 0, false // a part of the tag
	default:
		return verdict - tagLen, true
	}
}

// keepSnapLen returns how many bytes of the kernel's frame the client's needs
// to have the snap length. User space cuts what is too much.
func (t *target) keepSnapLen() uint32 {
	switch l := t.layout; {
	case l.grown < 0:
		return min(t.snapLen, math.MaxInt32-l.spare) + l.spare
	case l.grown == 0 || t.snapLen < tagOffset:
		return t.snapLen
	default:
		return max(t.snapLen, tagOffset+tagLen) - tagLen
	}
}

func (t *translation) retConstant(verdict uint32) {
	n, ok := t.keep(verdict)
	if !ok {
		t.leave()
		return
	}
	t.pass(n)
}

// retA returns what A, which is the client's verdict, stands for.
func (t *translation) retA() {
	t.refuseUnless(asm.JNE.Imm32(regA, 0, ""))
	t.emit(skip(asm.JLT.Imm32(regA, int32(t.snapLen), ""), 2))
	t.pass(t.keepSnapLen())
	switch {
	case t.layout.grown < 0:
		t.leave()
	case t.layout.grown == 0:
		t.passR0()
	default:
		t.emit(skip(asm.JGE.Imm32(regA, tagOffset, ""), 1))
		t.passR0()
		t.emit(skip(asm.JGE.Imm32(regA, tagOffset+tagLen, ""), 2))
		t.leave()
		t.emit(asm.Sub.Imm32(regA, tagLen))
		t.passR0()
	}
}
