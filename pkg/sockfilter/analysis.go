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
}

func analyse(code []bpf.RawInstruction) *analysis {
	a := &analysis{
		reachable: make([]bool, len(code)),
		joins:     make([]bool, len(code)),
		liveA:     make([]bool, len(code)),
		liveX:     make([]bool, len(code)),
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
		next, n := successors(code, i)
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
		next, n := successors(code, i)
		for _, s := range next[:n] {
			outA = outA || a.liveA[s]
			outX = outX || a.liveX[s]
		}
		readA, readX, writeA, writeX := uses(code[i].Op)
		a.liveA[i] = readA || outA && !writeA
		a.liveX[i] = readX || outX && !writeX
	}
}

// successors returns the distinct instructions that may follow instruction i.
func successors(code []bpf.RawInstruction, i int) (next [2]int, n int) {
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
	if alwaysFails(ins) {
		return next, 0
	}
	return [2]int{i + 1}, 1
}

// alwaysFails reports whether ins is a load that no frame is long enough for.
func alwaysFails(ins bpf.RawInstruction) bool {
	switch ins.Op {
	case opLoadAbsW, opLoadAbsH, opLoadAbsB, opLoadIndW, opLoadIndH, opLoadIndB, opLoadXMSH:
		return ins.K > maxOffset
	}
	return false
}

// uses tells which registers an instruction reads and which it overwrites.
func uses(op uint16) (readA, readX, writeA, writeX bool) {
	switch op & classMask {
	case classLD:
		readX = op == opLoadIndW || op == opLoadIndH || op == opLoadIndB
		return false, readX, true, false
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
