package sockfilter

import "golang.org/x/net/bpf"

// And joins two programs to one whose verdict is that of second for frames
// that first accepts, and 0 for others. How many bytes first would keep doesn't
// matter. The error is a [*ProgramError] or [*UnsupportedError] of the one that
// isn't valid, with first before second; the result can be too long to compile.
func And(first, second []bpf.RawInstruction) ([]bpf.RawInstruction, error) {
	for _, p := range [][]bpf.RawInstruction{first, second} {
		if err := check(p); err != nil {
			return nil, err
		}
	}
	// first, with jumps for its returns; a test of A for those that return it;
	// the seam, where second begins as if nothing had run: with A and X zero.
	// Scratch memory needs no care, since check lets nobody read what it has
	// not written.
	test := len(first)
	seam := test + 2
	joined := make([]bpf.RawInstruction, 0, seam+2+len(second))
	for i, ins := range first {
		switch {
		case ins.Op == opRetK && ins.K != 0:
			ins = bpf.RawInstruction{Op: opJump, K: uint32(seam - i - 1)}
		case ins.Op == opRetA:
			ins = bpf.RawInstruction{Op: opJump, K: uint32(test - i - 1)}
		}
		joined = append(joined, ins)
	}
	joined = append(joined,
		bpf.RawInstruction{Op: opJumpEqK, K: 0, Jf: 1}, // test
		bpf.RawInstruction{Op: opRetK, K: 0},
		bpf.RawInstruction{Op: opLoadImm, K: 0}, // seam
		bpf.RawInstruction{Op: opTAX},
	)
	return append(joined, second...), nil
}
