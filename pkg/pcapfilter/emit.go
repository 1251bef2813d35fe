package pcapfilter

import "golang.org/x/net/bpf"

// MaxInstructions is the length of the longest program that Compile makes,
// the limit of the RPCAP protocol. Linux attaches programs of up to 4,096 as
// they are (BPF_MAXINSNS of linux/filter.h).
const MaxInstructions = 8192

// Opcodes of classic BPF (linux/bpf_common.h).
const (
	codeLoadWord     = 0x20 // A = 4 bytes at k
	codeLoadHalf     = 0x28
	codeLoadByte     = 0x30
	codeLoadWordAt   = 0x40 // A = 4 bytes at X+k
	codeLoadHalfAt   = 0x48
	codeLoadByteAt   = 0x50
	codeLoadLength   = 0x80
	codeLoadConstant = 0x00
	codeLoadScratch  = 0x60
	codeLoadXScratch = 0x61
	codeLoadXHeader  = 0xb1 // X = 4*(byte at k & 15)
	codeStore        = 0x02
	codeToX          = 0x07 // X = A
	codeToA          = 0x87 // A = X
	codeNegate       = 0x84
	codeByX          = 0x08 // flag of arithmetic and jumps: the operand is X
	codeJump         = 0x05
	codeReturn       = 0x06
)

var arithmeticCodes = map[operator]uint16{
	opAdd: 0x04, opSubtract: 0x14, opMultiply: 0x24, opDivide: 0x34, opModulo: 0x94,
	opAnd: 0x54, opOr: 0x44, opXor: 0xa4, opLeft: 0x64, opRight: 0x74,
}

var jumpCodes = map[comparison]uint16{equal: 0x15, greater: 0x25, greaterEqual: 0x35, anyBit: 0x45}

// maxJump is how far a conditional jump reaches.
const maxJump = 255

// scratchWords is how many words of scratch memory there are (BPF_MEMWORDS).
const scratchWords = 16

// registers is which values the registers hold; nil if that's not known.
type registers struct{ a, x *value }

// both returns what is known where two ways meet.
func (r registers) both(other registers) registers {
	if r.a != other.a {
		r.a = nil
	}
	if r.x != other.x {
		r.x = nil
	}
	return r
}

// emit returns the program of the graph at root: what is accepted returns
// snapLen.
func emit(root *vertex, snapLen uint32) ([]bpf.RawInstruction, error) {
	vertices := order(root)
	bodies, err := emitLoads(vertices)
	if err != nil {
		return nil, err
	}
	// The program is laid out from its end, so that the places that jumps
	// lead to are known; places count from the end too.
	l := layout{snapLen: snapLen, places: make(map[*vertex]int)}
	for i := len(vertices) - 1; i >= 0; i-- {
		if err := l.prepend(vertices[i], bodies[i]); err != nil {
			return nil, err
		}
	}
	for i, j := 0, len(l.reversed)-1; i < j; i, j = i+1, j-1 {
		l.reversed[i], l.reversed[j] = l.reversed[j], l.reversed[i]
	}
	return l.reversed, nil
}

// emitLoads returns, for each of the vertices, the instructions that bring the
// operands of its test into the registers, as far as they aren't there on every
// way to it.
func emitLoads(vertices []*vertex) ([][]bpf.RawInstruction, error) {
	entry := map[*vertex]*registers{vertices[0]: {}}
	bodies := make([][]bpf.RawInstruction, len(vertices))
	for i, v := range vertices {
		if v.isVerdict() {
			continue
		}
		l := loader{registers: *entry[v]}
		if err := l.operands(v.test); err != nil {
			return nil, err
		}
		bodies[i] = l.code
		for _, next := range []*vertex{v.yes, v.no} {
			if known := entry[next]; known != nil {
				*known = known.both(l.registers)
			} else {
				exit := l.registers
				entry[next] = &exit
			}
		}
	}
	return bodies, nil
}

// layout collects a program from its end.
type layout struct {
	snapLen  uint32
	reversed []bpf.RawInstruction
	places   map[*vertex]int // the last place known from which v goes on, counted from the end
}

func (l *layout) add(ins bpf.RawInstruction) { l.reversed = append(l.reversed, ins) }

// prepend puts v before what is there.
func (l *layout) prepend(v *vertex, body []bpf.RawInstruction) error {
	if v.isVerdict() {
		l.add(l.verdict(v))
	} else {
		// The extra jumps stand behind the test, where nothing but the test
		// leads to.
		l.extend(v.no, 1)
		l.extend(v.yes, 0)
		here := len(l.reversed)
		jump := bpf.RawInstruction{
			Op: jumpCodes[v.test.compare],
			Jt: uint8(here - l.places[v.yes]),
			Jf: uint8(here - l.places[v.no]),
			K:  v.test.k,
		}
		if v.test.with != nil {
			jump.Op |= codeByX
		}
		l.add(jump)
		for i := len(body) - 1; i >= 0; i-- {
			l.add(body[i])
		}
	}
	l.places[v] = len(l.reversed)
	if len(l.reversed) > MaxInstructions {
		return errTooLong()
	}
	return nil
}

func (l *layout) verdict(v *vertex) bpf.RawInstruction {
	if v.accept {
		return bpf.RawInstruction{Op: codeReturn, K: l.snapLen}
	}
	return bpf.RawInstruction{Op: codeReturn}
}

// extend makes v reachable for a test that stands `more` instructions before
// what is there: if it's too far, by a jump or a copy of the verdict.
func (l *layout) extend(v *vertex, more int) {
	distance := len(l.reversed) - l.places[v]
	if distance+more <= maxJump {
		return
	}
	if v.isVerdict() {
		l.add(l.verdict(v))
	} else {
		l.add(bpf.RawInstruction{Op: codeJump, K: uint32(distance)})
	}
	l.places[v] = len(l.reversed)
}
