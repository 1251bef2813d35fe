package sockfilter

import "github.com/cilium/ebpf/asm"

// assembly collects instructions with labels.
type assembly struct {
	ins   asm.Instructions
	label string // of the next instruction
}

// at gives the next instruction a label.
func (a *assembly) at(label string) { a.label = label }

func (a *assembly) emit(ins ...asm.Instruction) {
	if a.label != "" && len(ins) > 0 {
		ins[0] = ins[0].WithSymbol(a.label)
		a.label = ""
	}
	a.ins = append(a.ins, ins...)
}

// half loads a 16-bit number in network order from the stack.
func (a *assembly) half(r asm.Register, stack int16) {
	a.emit(
		asm.LoadMem(r, asm.RFP, stack, asm.Half),
		asm.HostTo(asm.BE, r, asm.Half),
		asm.And.Imm(r, 0xffff), // verifiers lose the bound when bytes are swapped
	)
}

// loadBytes copies n bytes of the frame from the offset in R7, plus more, to
// the stack; it goes to fail if they aren't there.
func (a *assembly) loadBytes(more int32, stack, n int32, fail string) {
	a.emit(asm.Mov.Reg(asm.R1, regCtx), asm.Mov.Reg(asm.R2, regOffset))
	if more != 0 {
		a.emit(asm.Add.Imm(asm.R2, more))
	}
	a.emit(
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, stack),
		asm.Mov.Imm(asm.R4, n),
		asm.FnSkbLoadBytes.Call(),
		asm.JNE.Imm(asm.R0, 0, fail),
	)
}
