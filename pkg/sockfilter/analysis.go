package sockfilter

import "golang.org/x/net/bpf"

// analysis is what the translator has to know about each instruction. As jumps
// only go forward, one pass in each direction finds it.
type analysis struct {
	reachable []bool
	joins     []bool // two ways or more lead here
	liveA     []bool // A, as it is before the instruction, may still be read
	liveX     []bool
	count     int // reachable instructions
	ends      func(bpf.RawInstruction) bool
}

// analyse takes a function that reports whether an instruction, no return,
// ends the program whatever the frame.
func analyse(code []bpf.RawInstruction, ends func(bpf.RawInstruction) bool) *analysis {
	a := &analysis{
		reachable: make([]bool, len(code)),
		joins:     make([]bool, len(code)),
		liveA:     make([]bool, len(code)),
		liveX:     make([]bool, len(code)),
		ends:      ends,
	}
	a.forward(code)
	a.backward(code)
	return a
}

func (a *analysis) forward(code []bpf.RawInstruction) {
	a.reachable[0] = true
	for i := range code {
		if !a.reachable[i] {
			continue
		}
		a.count++
		next, n := a.successors(code, i)
		for _, s := range next[:n] {
			a.joins[s] = a.joins[s] || a.reachable[s]
			a.reachable[s] = true
		}
	}
}

func (a *analysis) backward(code []bpf.RawInstruction) {
	for i := len(code) - 1; i >= 0; i-- {
		if !a.reachable[i] {
			continue
		}
		var outA, outX bool
		next, n := a.successors(code, i)
		for _, s := range next[:n] {
			outA = outA || a.liveA[s]
			outX = outX || a.liveX[s]
		}
		readA, readX, writeA, writeX := uses(code[i])
		a.liveA[i] = readA || outA && !writeA
		a.liveX[i] = readX || outX && !writeX
	}
}

// successors returns the distinct instructions that may follow instruction i.
func (a *analysis) successors(code []bpf.RawInstruction, i int) (next [2]int, n int) {
	ins := code[i]
	switch ins.Op & classMask {
	case classRET:
		return next, 0
	case classJMP:
		if ins.Op == opJump {
			return [2]int{i + 1 + int(ins.K)}, 1
		}
		next = [2]int{i + 1 + int(ins.Jt), i + 1 + int(ins.Jf)}
		if next[0] == next[1] {
			return next, 1
		}
		return next, 2
	}
	if a.ends(ins) {
		return next, 0
	}
	return [2]int{i + 1}, 1
}

// uses tells which registers an instruction reads and which it overwrites.
func uses(ins bpf.RawInstruction) (readA, readX, writeA, writeX bool) {
	op := ins.Op
	switch op & classMask {
	case classLD:
		switch {
		case op == opLoadIndW || op == opLoadIndH || op == opLoadIndB:
			readX = true
		case isAncillary(ins):
			readA = readsRegisters(ins.K - offsetAncillary)
			readX = readA
		}
		return readA, readX, true, false
	case classLDX:
		return false, false, false, true
	case classST:
		return true, false, false, false
	case classSTX:
		return false, true, false, false
	case classALU:
		return true, op != opNeg && op&sourceX != 0, true, false
	case classJMP:
		return op != opJump, op != opJump && op&sourceX != 0, false, false
	case classRET:
		return op == opRetA, false, false, false
	default: // classMISC
		return op == opTAX, op == opTXA, op == opTXA, op == opTAX
	}
}

// isAncillary reports whether ins loads something else than bytes of the frame.
func isAncillary(ins bpf.RawInstruction) bool {
	switch ins.Op {
	case opLoadAbsW, opLoadAbsH, opLoadAbsB:
		return ins.K >= offsetAncillary
	}
	return false
}

// readsRegisters reports whether an ancillary load has A and X as operands.
func readsRegisters(ad uint32) bool {
	return ad == adAttribute || ad == adNestAttribute || ad == adXorX
}
