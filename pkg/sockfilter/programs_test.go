package sockfilter

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"golang.org/x/net/bpf"
)

// namedProgram is a program of testdata/tcpdump.txt.
type namedProgram struct {
	name string
	code []bpf.RawInstruction
}

// tcpdumpPrograms reads what `tcpdump -ddd -y EN10MB EXPRESSION` of libpcap
// 1.10.3 printed: "# EXPRESSION", the number of instructions, and one
// instruction a line. Those "not optimised" are of tcpdump -O.
func tcpdumpPrograms(t testing.TB) []namedProgram {
	t.Helper()
	all := readPrograms(t, "testdata/tcpdump.txt")
	if len(all) < 50 {
		t.Fatalf("only %d programs", len(all))
	}
	return all
}

// cookedPrograms reads what tcpdump printed for -y LINUX_SLL and LINUX_SLL2,
// whose name is the prefix of a program's.
func cookedPrograms(t testing.TB, linkType string) (programs []namedProgram) {
	t.Helper()
	for _, p := range readPrograms(t, "testdata/tcpdump-cooked.txt") {
		if strings.HasPrefix(p.name, linkType+":") {
			programs = append(programs, p)
		}
	}
	if len(programs) < 10 {
		t.Fatalf("only %d programs for %s", len(programs), linkType)
	}
	return programs
}

func readPrograms(t testing.TB, name string) []namedProgram {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []namedProgram
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := lines.Text()
		if line == "" {
			continue
		}
		if name, ok := strings.CutPrefix(line, "# "); ok {
			all = append(all, namedProgram{name: name})
			lines.Scan() // the number of instructions
			continue
		}
		var ins bpf.RawInstruction
		if _, err := fmt.Sscan(line, &ins.Op, &ins.Jt, &ins.Jf, &ins.K); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		p := &all[len(all)-1]
		p.code = append(p.code, ins)
	}
	return all
}

// randomProgram returns a valid program of up to maxLen instructions.
func randomProgram(r *rand.Rand, maxLen int) []bpf.RawInstruction {
	code := make([]bpf.RawInstruction, 2+r.IntN(maxLen-1))
	last := len(code) - 1
	for i := range code[:last] {
		code[i] = randomInstruction(r, last-i)
	}
	code[last] = bpf.RawInstruction{Op: opRetA}
	if r.IntN(2) == 0 {
		code[last] = bpf.RawInstruction{Op: opRetK, K: uint32(r.IntN(100))}
	}
	for { // make loads of unwritten scratch memory something else
		err := check(code)
		if err == nil {
			return code
		}
		var e *ProgramError
		if !errors.As(err, &e) || code[e.Index].Op != opLoadMem && code[e.Index].Op != opLoadXMem {
			panic(fmt.Sprintf("random program: %v", err))
		}
		code[e.Index] = bpf.RawInstruction{Op: opStore, K: code[e.Index].K}
	}
}

// randomInstruction returns an instruction with after more behind it.
func randomInstruction(r *rand.Rand, after int) bpf.RawInstruction {
	loads := []uint16{opLoadAbsW, opLoadAbsH, opLoadAbsB, opLoadIndW, opLoadIndH, opLoadIndB, opLoadXMSH}
	scratch := []uint16{opLoadMem, opLoadXMem, opStore, opStoreX}
	values := []uint16{opLoadImm, opLoadXImm, opLoadLen, opLoadXLen, opTAX, opTXA, opNeg}
	arithmetic := []uint16{opAddK, opSubK, opMulK, opDivK, opModK, opAndK, opOrK, opXorK, opLshK, opRshK}
	jumps := []uint16{opJump, opJumpEqK, opJumpGtK, opJumpGeK, opJumpSetK}
	pick := func(ops []uint16) uint16 { return ops[r.IntN(len(ops))] }
	source := uint16(r.IntN(2)) * sourceX
	switch r.IntN(10) {
	case 0, 1, 2:
		k := uint32(r.IntN(70))
		if r.IntN(50) == 0 {
			k = []uint32{0x7fff_fffc, 0x7fff_ffff, 0x8000_0000, 0xffd0_0000}[r.IntN(4)]
		}
		return bpf.RawInstruction{Op: pick(loads), K: k}
	case 3:
		return bpf.RawInstruction{Op: pick(scratch), K: uint32(r.IntN(scratchWords))}
	case 4, 5:
		return bpf.RawInstruction{Op: pick(values), K: randomConstant(r)}
	case 6, 7:
		op := pick(arithmetic) | source
		k := randomConstant(r)
		switch op {
		case opLshK, opRshK:
			k %= shiftLimit
		case opDivK, opModK:
			k = max(k, 1)
		}
		return bpf.RawInstruction{Op: op, K: k}
	case 8:
		if r.IntN(8) == 0 {
			return bpf.RawInstruction{Op: []uint16{opRetK, opRetA}[r.IntN(2)], K: uint32(r.IntN(100))}
		}
		fallthrough
	default:
		op := pick(jumps)
		if op == opJump {
			return bpf.RawInstruction{Op: op, K: uint32(r.IntN(min(after, 20)))}
		}
		skip := func() uint8 { return uint8(r.IntN(min(after, 20))) }
		return bpf.RawInstruction{Op: op | source, K: randomConstant(r), Jt: skip(), Jf: skip()}
	}
}

func randomConstant(r *rand.Rand) uint32 {
	switch r.IntN(4) {
	case 0:
		return r.Uint32()
	case 1:
		return []uint32{0, 1, 31, 32, 33, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff}[r.IntN(8)]
	default:
		return uint32(r.IntN(80))
	}
}

// Addresses of testFrames.
var (
	mac1 = []byte{2, 0, 0, 0, 0, 1}
	mac2 = []byte{2, 0, 0, 0, 0, 2}
)

// ethernet returns a frame from mac1 to mac2.
func ethernet(etherType uint16, payload ...byte) []byte {
	f := append(append([]byte(nil), mac2...), mac1...)
	f = binary.BigEndian.AppendUint16(f, etherType)
	return append(f, payload...)
}

// ipv4 returns an IPv4 packet from 10.9.0.1 to 10.9.0.2, without checksum.
func ipv4(protocol byte, fragment uint16, options int, payload []byte) []byte {
	p := make([]byte, 20+options, 20+options+len(payload))
	p[0] = 0x40 | byte(len(p)/4)
	binary.BigEndian.PutUint16(p[2:], uint16(cap(p)))
	binary.BigEndian.PutUint16(p[6:], fragment)
	p[8], p[9] = 64, protocol
	copy(p[12:], []byte{10, 9, 0, 1, 10, 9, 0, 2})
	return append(p, payload...)
}

// ipv6 returns an IPv6 packet from fd00::1 to fd00::2.
func ipv6(nextHeader byte, payload []byte) []byte {
	p := make([]byte, 40, 40+len(payload))
	p[0] = 0x60
	binary.BigEndian.PutUint16(p[4:], uint16(len(payload)))
	p[6], p[7] = nextHeader, 64
	p[8], p[23], p[24], p[39] = 0xfd, 1, 0xfd, 2
	return append(p, payload...)
}

// segment returns a TCP header and payload; its start is a UDP header as well.
func segment(src, dst uint16, payload string) []byte {
	s := make([]byte, 20)
	binary.BigEndian.PutUint16(s, src)
	binary.BigEndian.PutUint16(s[2:], dst)
	s[12], s[13] = 0x50, 0x18
	return append(s, payload...)
}

// testFrames returns crafted and random frames of at least one byte.
func testFrames(r *rand.Rand) [][]byte {
	http := segment(40000, 80, "GET / HTTP/1.1\r\n\r\n")
	frames := [][]byte{
		ethernet(0x0800, ipv4(6, 0, 0, http)...),
		ethernet(0x0800, ipv4(6, 0, 8, http)...),
		ethernet(0x0800, ipv4(17, 0, 0, segment(53, 53000, "answer"))...),
		ethernet(0x0800, ipv4(6, 0x2000, 0, http)...),
		ethernet(0x0800, ipv4(6, 0x0003, 0, http)...),
		ethernet(0x0800, ipv4(1, 0, 0, []byte{8, 0, 0, 0})...),
		ethernet(0x86dd, ipv6(6, http)...),
		ethernet(0x86dd, ipv6(17, segment(5353, 5353, ""))...),
		ethernet(0x86dd, ipv6(58, []byte{128, 0, 0, 0})...),
		ethernet(0x0806, make([]byte, 28)...),
		ethernet(0x8100, append([]byte{0, 10, 8, 0}, ipv4(6, 0, 0, http)...)...),
		ethernet(0x88a8, append([]byte{0, 100, 0x81, 0, 0, 10, 8, 0}, ipv4(6, 0, 0, http)...)...),
		{0},
		make([]byte, 14),
		make([]byte, 1400),
	}
	for _, f := range frames[:11] { // cut short
		frames = append(frames, f[:1+r.IntN(len(f)-1)])
	}
	for range 20 {
		f := make([]byte, 1+r.IntN(120))
		for i := range f {
			f[i] = byte(r.Uint32())
			if r.IntN(3) == 0 {
				f[i] = 0
			}
		}
		frames = append(frames, f)
	}
	return frames
}

// netVM returns the interpreter of golang.org/x/net/bpf with the program, nil
// where it is known to differ: it has no NEG, takes LDX LEN for LD LEN, and
// knows nothing beside the frame.
func netVM(t testing.TB, code []bpf.RawInstruction) *bpf.VM {
	t.Helper()
	for _, ins := range code {
		if ins.Op == opNeg || ins.Op == opLoadXLen || isAncillary(ins) {
			return nil
		}
		if _, offset, ok := base(ins.K); isLoad(ins.Op) && ok && offset != ins.K {
			return nil
		}
	}
	decoded, ok := bpf.Disassemble(code)
	if !ok {
		t.Fatalf("golang.org/x/net/bpf doesn't know all of %v", decoded)
	}
	vm, err := bpf.NewVM(decoded)
	if err != nil {
		t.Fatalf("golang.org/x/net/bpf: %v in %v", err, decoded)
	}
	return vm
}

// isLoad reports whether an instruction loads bytes of the frame.
func isLoad(op uint16) bool {
	switch op {
	case opLoadAbsW, opLoadAbsH, opLoadAbsB, opLoadIndW, opLoadIndH, opLoadIndB, opLoadXMSH:
		return true
	}
	return false
}

func netVerdict(t testing.TB, vm *bpf.VM, frame []byte) uint32 {
	t.Helper()
	n, err := vm.Run(frame)
	if err != nil {
		t.Fatalf("golang.org/x/net/bpf: %v", err)
	}
	return uint32(n)
}
