package sockfilter

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/net/bpf"
)

type insns = []bpf.RawInstruction

func TestCompileRefuses(t *testing.T) {
	ret := bpf.RawInstruction{Op: opRetK, K: 1}
	for _, tt := range []struct {
		name  string
		code  insns
		index int
	}{
		{"no instruction", nil, -1},
		{"too many", slices.Repeat(insns{ret}, MaxInstructions+1), -1},
		{"no return", insns{{Op: opLoadLen}}, 0},
		{"jump at the end", insns{ret, {Op: opJump}}, 1},
		{"jump beyond the end", insns{{Op: opJump, K: 1}, ret}, 0},
		{"jump far beyond the end", insns{{Op: opJump, K: 0xffff_ffff}, ret}, 0},
		{"true branch beyond the end", insns{{Op: opJumpEqK, Jt: 1}, ret}, 0},
		{"false branch beyond the end", insns{{Op: opJumpSetX, Jf: 1}, ret}, 0},
		{"division by zero", insns{{Op: opDivK}, ret}, 0},
		{"remainder by zero", insns{ret, {Op: opModK}, ret}, 1},
		{"left shift by 32", insns{{Op: opLshK, K: 32}, ret}, 0},
		{"right shift by 32", insns{{Op: opRshK, K: 32}, ret}, 0},
		{"store to M[16]", insns{{Op: opStore, K: 16}, ret}, 0},
		{"load of M[16]", insns{{Op: opLoadXMem, K: 16}, ret}, 0},
		{"load of a word never written", insns{{Op: opStore, K: 1}, {Op: opLoadMem, K: 2}, ret}, 1},
		{"load of a word written on one way only", insns{{Op: opJumpEqK, Jt: 1}, {Op: opStoreX, K: 2}, {Op: opLoadMem, K: 2}, ret}, 2},
		{"unknown class", insns{{Op: 0x1000}, ret}, 0},
		{"unknown opcode", insns{{Op: 0xff}, ret}, 0},
		{"return of X", insns{{Op: classRET | sourceX}}, 0},
		{"LD MSH", insns{{Op: classLD | sizeB | modeMSH}, ret}, 0},
		{"unknown ancillary load", insns{{Op: opLoadAbsB, K: 0xffff_f001}, ret}, 0},
		{"ancillary load beyond the last", insns{{Op: opLoadAbsW, K: 0xffff_ffff}, ret}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := Compile(tt.code)
			var e *ProgramError
			if !errors.As(err, &e) || e.Index != tt.index || p != nil {
				t.Errorf("Compile: %v, want an error at %d", err, tt.index)
			}
		})
	}
}

func TestCompileCopies(t *testing.T) {
	code := insns{{Op: opRetK, K: 1}}
	p, err := Compile(code)
	if err != nil {
		t.Fatal(err)
	}
	code[0].K = 2
	if got := p.Run([]byte{0}, 1); got != 1 {
		t.Errorf("the program changed with the caller's slice: %d", got)
	}
}

func TestRun(t *testing.T) {
	frame := []byte{0x45, 1, 2, 3, 0xff, 0xfe, 0xfd, 0xfc}
	const wire = 1500
	retA := bpf.RawInstruction{Op: opRetA}
	x := func(v uint32) bpf.RawInstruction { return bpf.RawInstruction{Op: opLoadXImm, K: v} }
	a := func(v uint32) bpf.RawInstruction { return bpf.RawInstruction{Op: opLoadImm, K: v} }
	for _, tt := range []struct {
		name string
		code insns
		want uint32
	}{
		{"load word", insns{{Op: opLoadAbsW, K: 4}, retA}, 0xfffe_fdfc},
		{"load word beyond the end", insns{{Op: opLoadAbsW, K: 5}, retA}, 0},
		{"load half", insns{{Op: opLoadAbsH, K: 6}, retA}, 0xfdfc},
		{"load half beyond the end", insns{{Op: opLoadAbsH, K: 7}, {Op: opRetK, K: 9}}, 0},
		{"load byte", insns{{Op: opLoadAbsB, K: 7}, retA}, 0xfc},
		{"load byte beyond the end", insns{{Op: opLoadAbsB, K: 8}, {Op: opRetK, K: 9}}, 0},
		{"load far beyond", insns{{Op: opLoadAbsW, K: 0x8000_0000}, {Op: opRetK, K: 9}}, 0},
		{"load indirect", insns{x(3), {Op: opLoadIndW, K: 1}, retA}, 0xfffe_fdfc},
		{"load indirect doesn't wrap", insns{x(0xffff_fff8), {Op: opLoadIndH, K: 12}, {Op: opRetK, K: 9}}, 0},
		{"load indirect with negative K", insns{x(20), {Op: opLoadIndB, K: 0xffff_fffc}, {Op: opRetK, K: 9}}, 0},
		{"header length", insns{{Op: opLoadXMSH, K: 0}, {Op: opTXA}, retA}, 20},
		{"length is the wire's", insns{{Op: opLoadLen}, retA}, wire},
		{"X length", insns{{Op: opLoadXLen}, {Op: opTXA}, retA}, wire},
		{"scratch memory", insns{a(7), {Op: opStore, K: 15}, x(8), {Op: opStoreX}, {Op: opLoadXMem, K: 15}, {Op: opLoadMem}, {Op: opAddX}, retA}, 15},
		{"registers are 0 at the start", insns{{Op: opAddX}, {Op: opAddK, K: 5}, retA}, 5},
		{"subtraction wraps", insns{a(1), {Op: opSubK, K: 2}, retA}, 0xffff_ffff},
		{"negation", insns{a(1), {Op: opNeg}, retA}, 0xffff_ffff},
		{"division is unsigned", insns{a(0xffff_fffe), x(2), {Op: opDivX}, retA}, 0x7fff_ffff},
		{"division by X = 0", insns{a(5), {Op: opDivX}, {Op: opRetK, K: 9}}, 0},
		{"remainder by X = 0", insns{a(5), {Op: opModX}, {Op: opRetK, K: 9}}, 0},
		{"remainder", insns{a(17), {Op: opModK, K: 5}, retA}, 2},
		{"shift by 31", insns{a(3), x(31), {Op: opLshX}, retA}, 0x8000_0000},
		{"shift by 32", insns{a(3), x(32), {Op: opLshX}, {Op: opAddK, K: 4}, retA}, 4},
		{"shift by 33", insns{a(3), x(33), {Op: opRshX}, {Op: opAddK, K: 4}, retA}, 4},
		{"greater is unsigned", insns{a(0x8000_0000), {Op: opJumpGtK, K: 1, Jf: 1}, {Op: opRetK, K: 7}, {Op: opRetK, K: 8}}, 7},
		{"jump", insns{{Op: opJump, K: 1}, {Op: opRetK, K: 1}, {Op: opRetK, K: 2}}, 2},
		{"jump by bits", insns{a(6), x(1), {Op: opJumpSetX, Jt: 1}, {Op: opRetK, K: 3}, {Op: opRetK, K: 4}}, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := Compile(tt.code)
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Run(frame, wire); got != tt.want {
				t.Errorf("Run = %#x, want %#x", got, tt.want)
			}
		})
	}
}

// TestRunAgreesWithNetBPF holds the interpreter against golang.org/x/net/bpf.
func TestRunAgreesWithNetBPF(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 1))
	frames := testFrames(r)
	programs := tcpdumpPrograms(t)
	for range 3000 {
		programs = append(programs, namedProgram{"random", randomProgram(r, 60)})
	}
	accepted, compared := 0, 0
	for _, np := range programs {
		p, err := Compile(np.code)
		if err != nil {
			t.Fatalf("%s: %v", np.name, err)
		}
		vm := netVM(t, np.code)
		if vm == nil {
			continue
		}
		for _, f := range frames {
			got, want := p.Run(f, len(f)), netVerdict(t, vm, f)
			if got != want {
				t.Fatalf("%s: verdict %d, golang.org/x/net/bpf says %d\nprogram %v\nframe %x", np.name, got, want, np.code, f)
			}
			compared++
			if got != 0 {
				accepted++
			}
		}
	}
	if accepted < compared/20 || accepted > compared*19/20 {
		t.Errorf("%d of %d accepted: not much of a test", accepted, compared)
	}
	t.Logf("%d verdicts compared, %d frames accepted", compared, accepted)
}

func TestRunDoesNotAllocate(t *testing.T) {
	var programs []*Program
	for _, np := range tcpdumpPrograms(t) {
		p, err := Compile(np.code)
		if err != nil {
			t.Fatal(err)
		}
		programs = append(programs, p)
	}
	frame := ethernet(0x0800, ipv4(6, 0, 0, segment(1, 80, "x"))...)
	if n := testing.AllocsPerRun(100, func() {
		for _, p := range programs {
			p.Run(frame, len(frame))
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzCompile holds that a program is either refused with a typed error or
// runs as in golang.org/x/net/bpf.
func FuzzCompile(f *testing.F) {
	r := rand.New(rand.NewPCG(9, 9))
	frames := testFrames(r)
	for i := range 20 {
		f.Add(encode(randomProgram(r, 20)), frames[i%len(frames)])
	}
	f.Add(encode(insns{{Op: opLoadAbsW, K: 0xffff_f000}, {Op: opRetA}}), []byte{1})
	f.Fuzz(func(t *testing.T, raw, frame []byte) {
		code := decode(raw)
		p, err := Compile(code)
		if err != nil {
			var invalid *ProgramError
			if !errors.As(err, &invalid) {
				t.Fatalf("untyped error %v", err)
			}
			if invalid.Index < -1 || invalid.Index >= len(code) {
				t.Fatalf("error at instruction %d of %d", invalid.Index, len(code))
			}
			return
		}
		got := p.Run(frame, len(frame))
		if vm := netVM(t, code); vm != nil {
			if want := netVerdict(t, vm, frame); got != want {
				t.Fatalf("verdict %d, golang.org/x/net/bpf says %d", got, want)
			}
		}
	})
}

func encode(code []bpf.RawInstruction) (raw []byte) {
	for _, i := range code {
		raw = binary.BigEndian.AppendUint16(raw, i.Op)
		raw = append(raw, i.Jt, i.Jf)
		raw = binary.BigEndian.AppendUint32(raw, i.K)
	}
	return raw
}

func decode(raw []byte) (code []bpf.RawInstruction) {
	for ; len(raw) >= 8; raw = raw[8:] {
		code = append(code, bpf.RawInstruction{
			Op: binary.BigEndian.Uint16(raw), Jt: raw[2], Jf: raw[3], K: binary.BigEndian.Uint32(raw[4:]),
		})
	}
	return code
}
