package sockfilter

import (
	"fmt"

	"golang.org/x/net/bpf"
)

// MaxInstructions is the length of the longest program that Compile accepts,
// the limit of the RPCAP protocol (RPCAP_BPF_MAXINSNS in rpcapd's daemon.c).
const MaxInstructions = 8192

// ProgramError says why a program is no valid classic BPF program.
type ProgramError struct {
	Index  int // of the instruction; -1 if it's the program as a whole
	Reason string
}

// Error names the instruction and the reason.
func (e *ProgramError) Error() string {
	if e.Index < 0 {
		return "sockfilter: invalid program: " + e.Reason
	}
	return fmt.Sprintf("sockfilter: invalid program: instruction %d: %s", e.Index, e.Reason)
}

// UnsupportedError says that a valid program can run neither in the kernel nor
// in the interpreter, since it has a load whose value only the kernel knows.
type UnsupportedError struct {
	Index int    // of the instruction
	Load  string // which load, "SKF_AD_MARK" for one
}

// Error names the instruction and the load.
func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("sockfilter: instruction %d: load %s is not supported in a program that can't run in the kernel", e.Index, e.Load)
}

// check does what bpf_check_classic does.
func check(prog []bpf.RawInstruction) error {
	if len(prog) == 0 || len(prog) > MaxInstructions {
		return &ProgramError{Index: -1, Reason: fmt.Sprintf("%d instructions, want 1 to %d", len(prog), MaxInstructions)}
	}
	for i, ins := range prog {
		if reason := checkInstruction(ins, len(prog)-i-1); reason != "" {
			return &ProgramError{Index: i, Reason: reason}
		}
	}
	last := len(prog) - 1
	if op := prog[last].Op; op != opRetK && op != opRetA {
		return &ProgramError{Index: last, Reason: "the last instruction is no return"}
	}
	return checkScratch(prog)
}

// checkInstruction returns what is wrong with ins, which has after
// instructions behind it, or "".
func checkInstruction(ins bpf.RawInstruction, after int) string {
	switch ins.Op {
	case opDivK, opModK:
		if ins.K == 0 {
			return "division by zero"
		}
	case opLshK, opRshK:
		if ins.K >= shiftLimit {
			return fmt.Sprintf("shift by %d bits", ins.K)
		}
	case opLoadMem, opLoadXMem, opStore, opStoreX:
		if ins.K >= scratchWords {
			return fmt.Sprintf("scratch memory word %d of %d", ins.K, scratchWords)
		}
	case opJump:
		if uint64(ins.K) >= uint64(after) {
			return fmt.Sprintf("jump over %d instructions with %d left", ins.K, after)
		}
	case opJumpEqK, opJumpEqX, opJumpGtK, opJumpGtX, opJumpGeK, opJumpGeX, opJumpSetK, opJumpSetX:
		if far := int(max(ins.Jt, ins.Jf)); far >= after {
			return fmt.Sprintf("jump over %d instructions with %d left", far, after)
		}
	case opLoadAbsW, opLoadAbsH, opLoadAbsB:
		if ins.K >= offsetAncillary && ancillaryName(ins.K) == "" {
			return fmt.Sprintf("unknown ancillary load at offset %#x", ins.K)
		}
	default:
		if !known(ins.Op) {
			return fmt.Sprintf("unknown opcode %#04x", ins.Op)
		}
	}
	return ""
}

// checkScratch refuses programs that could read a word of scratch memory
// before writing it, by check_load_and_stores' rule: it is the same single
// pass, so that programs pass here that pass there.
func checkScratch(prog []bpf.RawInstruction) error {
	const all = 1<<scratchWords - 1
	valid := uint16(0)                     // one bit per word written on every way here
	missing := make([]uint16, len(prog)+1) // words not written on some way that jumps there
	for i, ins := range prog {
		valid &^= missing[i]
		switch ins.Op {
		case opStore, opStoreX:
			valid |= 1 << ins.K
		case opLoadMem, opLoadXMem:
			if valid&(1<<ins.K) == 0 {
				return &ProgramError{Index: i, Reason: fmt.Sprintf("scratch memory word %d is read before it is written", ins.K)}
			}
		case opJump:
			missing[i+1+int(ins.K)] |= ^valid
			valid = all
		case opJumpEqK, opJumpEqX, opJumpGtK, opJumpGtX, opJumpGeK, opJumpGeX, opJumpSetK, opJumpSetX:
			missing[i+1+int(ins.Jt)] |= ^valid
			missing[i+1+int(ins.Jf)] |= ^valid
			valid = all
		}
	}
	return nil
}

// ancillaryName returns the name of an ancillary load (linux/filter.h), or ""
// if there is none at offset k.
func ancillaryName(k uint32) string {
	names := [...]string{"PROTOCOL", "PKTTYPE", "IFINDEX", "NLATTR", "NLATTR_NEST", "MARK", "QUEUE", "HATYPE",
		"RXHASH", "CPU", "ALU_XOR_X", "VLAN_TAG", "VLAN_TAG_PRESENT", "PAY_OFFSET", "RANDOM", "VLAN_TPID"}
	n := k - offsetAncillary
	if n%4 != 0 || int(n/4) >= len(names) {
		return ""
	}
	return "SKF_AD_" + names[n/4]
}
