package sockfilter

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"capstan/pkg/netns/netnstest"
)

// socketPair carries datagrams from tx to rx, where the kernel filters them:
// the filter sees the datagram's bytes from offset 0, and what arrives tells
// its verdict.
type socketPair struct {
	t      testing.TB
	tx, rx int
	buf    []byte
}

func newSocketPair(t testing.TB) *socketPair {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[0]); unix.Close(fds[1]) })
	return &socketPair{t: t, tx: fds[0], rx: fds[1], buf: make([]byte, 1<<16)}
}

func (s *socketPair) attachClassic(code []bpf.RawInstruction) error { return attachClassic(s.rx, code) }

func (s *socketPair) attach(p *ebpf.Program) {
	s.t.Helper()
	if err := unix.SetsockoptInt(s.rx, unix.SOL_SOCKET, unix.SO_ATTACH_BPF, p.FD()); err != nil {
		s.t.Fatal(err)
	}
}

// verdict returns how many bytes of the frame pass: the smaller of the
// program's verdict and the frame's length.
func (s *socketPair) verdict(frame []byte) uint32 {
	s.t.Helper()
	if _, err := unix.Write(s.tx, frame); err != nil {
		s.t.Fatal(err)
	}
	n, err := unix.Read(s.rx, s.buf)
	if errors.Is(err, unix.EAGAIN) {
		return 0
	}
	if err != nil || !bytes.HasPrefix(frame, s.buf[:n]) {
		s.t.Fatalf("read %d bytes, %v", n, err)
	}
	return uint32(n)
}

func mustCompile(t testing.TB, code []bpf.RawInstruction) *Program {
	t.Helper()
	p, err := Compile(code)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func translatePlain(p *Program, snapLen uint32) asm.Instructions {
	t, _ := target{layout: &plainLayout, snapLen: snapLen, reach: true}.translate(p)
	return t.out
}

// TestKernelAgreesWithInterpreter is the promise of the package: whatever the
// program and the frame, the translation that runs in the kernel has the
// interpreter's verdict, cut to the snap length.
func TestKernelAgreesWithInterpreter(t *testing.T) {
	netnstest.RequireBPF(t)
	r := rand.New(rand.NewPCG(5, 1))
	frames := testFrames(r)
	programs := tcpdumpPrograms(t)
	for i := range 150 {
		programs = append(programs, namedProgram{fmt.Sprint("random ", i), randomProgram(r, 80)})
	}
	s := newSocketPair(t)
	compared, accepted := 0, 0
	for i, np := range programs {
		snapLen := []uint32{1, 40, DefaultSnapLen}[i%3]
		p := mustCompile(t, np.code)
		prog, err := loadProgram("test", translatePlain(p, snapLen))
		if err != nil {
			t.Fatalf("%s: %v\n%v", np.name, err, np.code)
		}
		s.attach(prog)
		prog.Close()
		for _, f := range frames {
			got, want := s.verdict(f), min(p.Run(f, len(f)), snapLen, uint32(len(f)))
			if got != want {
				t.Fatalf("%s: kernel %d, interpreter %d\nprogram %v\nframe %x", np.name, got, want, np.code, f)
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

// TestClassicFilterAgrees has Linux's own classic filters as the oracle, for
// what is valid and for the verdicts.
func TestClassicFilterAgrees(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 2))
	frames := testFrames(r)
	programs := tcpdumpPrograms(t)
	for range 150 {
		programs = append(programs, namedProgram{"random", randomProgram(r, 80)})
	}
	s := newSocketPair(t)
	compared := 0
	for _, np := range programs {
		p := mustCompile(t, np.code)
		if err := s.attachClassic(np.code); err != nil {
			t.Fatalf("%s: Compile takes what the kernel refuses: %v\n%v", np.name, err, np.code)
		}
		if np.name == "random" && documentedDifference(np.code) {
			continue
		}
		for _, f := range frames {
			compared++
			if got, want := min(p.Run(f, len(f)), uint32(len(f))), s.verdict(f); got != want {
				t.Fatalf("%s: interpreter %d, kernel %d\nprogram %v\nframe %x", np.name, got, want, np.code, f)
			}
		}
	}
	if compared < 3000 {
		t.Errorf("only %d verdicts compared", compared)
	}
}

// documentedDifference reports whether Linux may treat the program otherwise,
// see the package's comment.
func documentedDifference(code []bpf.RawInstruction) bool {
	for _, ins := range code {
		switch ins.Op {
		case opLshX, opRshX, opLoadIndW, opLoadIndH, opLoadIndB:
			return true
		}
	}
	return false
}

// TestClassicCheckerAgrees damages valid programs and compares what Compile
// and the kernel make of them.
func TestClassicCheckerAgrees(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 3))
	s := newSocketPair(t)
	const mostValid = 150
	valid, invalid := 0, 0
	for valid < mostValid {
		code := randomProgram(r, 12)
		for range 1 + r.IntN(3) {
			ins := &code[r.IntN(len(code))]
			switch r.IntN(4) {
			case 0:
				ins.Op = uint16(r.IntN(256))
			case 1:
				ins.K = []uint32{0, 15, 16, 31, 32, 0xffff_f000, 0xffff_f004, 0xffff_f03c, 0xffff_f03d, 0xffff_f040, 0xffff_efff, 0xffff_ffff}[r.IntN(12)]
			case 2:
				ins.Jt, ins.Jf = uint8(r.IntN(14)), uint8(r.IntN(14))
			case 3:
				*ins = bpf.RawInstruction{Op: []uint16{opLoadMem, opLoadXMem}[r.IntN(2)], K: uint32(r.IntN(3))}
			}
		}
		_, err := Compile(code)
		if kernel := s.attachClassic(code); (kernel == nil) != (err == nil) {
			t.Fatalf("kernel: %v, Compile: %v\n%v", kernel, err, code)
		}
		if err == nil {
			valid++
		} else {
			invalid++
		}
	}
	if invalid < 100 {
		t.Errorf("%d valid, %d invalid: not much of a test", valid, invalid)
	}
}

// TestLongJumps has jumps that 16 bits can't hold once the kernel has expanded
// what they skip.
func TestLongJumps(t *testing.T) {
	netnstest.RequireBPF(t)
	const loads = 4000
	code := []bpf.RawInstruction{
		{Op: opLoadAbsB, K: 0},
		{Op: opJumpEqK, K: 7, Jt: 0, Jf: 1},
		{Op: opJump, K: loads},
	}
	for i := range loads {
		code = append(code, bpf.RawInstruction{Op: opLoadAbsB, K: uint32(i % 8)})
	}
	code = append(code, bpf.RawInstruction{Op: opRetA})
	p := mustCompile(t, code)
	long := func(ins asm.Instruction) bool { return ins.OpCode == asm.LongJump("").OpCode }
	if !slices.ContainsFunc(translatePlain(p, DefaultSnapLen), long) {
		t.Fatalf("no long jump over %d loads", loads)
	}
	// A socket is charged for its filter; one as large as this only fits the slot.
	s := newSocketPair(t)
	f, err := NewFilter(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Attach(s.rx); err != nil {
		t.Fatal(err)
	}
	if judged, err := f.Set(p); !judged.Untagged || err != nil {
		t.Skipf("kernel has no 32-bit jumps: %v", err)
	}
	for _, frame := range [][]byte{{7, 1, 1, 1, 1, 1, 1, 2}, {6, 1, 1, 1, 1, 1, 1, 2}, {6, 1, 1}} {
		if got, want := s.verdict(frame), min(p.Run(frame, len(frame)), uint32(len(frame))); got != want {
			t.Errorf("frame %x: kernel %d, interpreter %d", frame, got, want)
		}
	}
}

// TestJumpsThatDontReach has a conditional jump over more than 16 bits count: in
// frames with a tag such loads are long.
func TestJumpsThatDontReach(t *testing.T) {
	code := []bpf.RawInstruction{{Op: opLoadAbsB, K: 0}, {Op: opTAX}, {Op: opJumpEqK, K: 7, Jt: 255}}
	for range 255 {
		code = append(code, bpf.RawInstruction{Op: opLoadIndW, K: 12})
	}
	code = append(code, bpf.RawInstruction{Op: opRetK, K: 100})
	p := mustCompile(t, code)
	for _, tt := range []struct {
		name   string
		layout *layout
		want   bool
	}{{"frame", &plainLayout, false}, {"tagged", &taggedLayout, true}} {
		translated, _ := target{layout: tt.layout, snapLen: 100, reach: true}.translate(p)
		if translated.tooFar != tt.want {
			t.Errorf("%s: too far: %v, %d instructions, %d loads", tt.name, translated.tooFar, len(translated.out), translated.loads)
		}
	}
}

// hostilePrograms make the verifier's states differ at every step.
func hostilePrograms() map[string][]bpf.RawInstruction {
	build := func(n int, step func(i uint32) []bpf.RawInstruction) (code []bpf.RawInstruction) {
		code = append(code, bpf.RawInstruction{Op: opStore, K: 0})
		for i := 0; len(code) < n; i++ {
			code = append(code, step(uint32(i))...)
		}
		return append(code, bpf.RawInstruction{Op: opLoadMem, K: 0}, bpf.RawInstruction{Op: opAddX}, bpf.RawInstruction{Op: opRetA})
	}
	varyX := func(i uint32) []bpf.RawInstruction {
		return []bpf.RawInstruction{
			{Op: opLoadIndB, K: i % 40}, {Op: opJumpSetK, K: 1, Jf: 1}, {Op: opLoadXImm, K: i % 40},
		}
	}
	varyScratch := func(i uint32) []bpf.RawInstruction {
		return []bpf.RawInstruction{
			{Op: opLoadAbsB, K: i % 40}, {Op: opJumpSetK, K: 1, Jf: 2}, {Op: opLoadImm, K: i}, {Op: opStore, K: 0},
			{Op: opLoadXMem, K: 0}, {Op: opLoadIndB, K: 0},
		}
	}
	bounds := func(i uint32) []bpf.RawInstruction {
		return []bpf.RawInstruction{
			{Op: opLoadIndB, K: i % 40}, {Op: opJumpGtK, K: i, Jf: 1}, {Op: opTAX}, {Op: opLshX}, {Op: opJumpGtX, Jt: 1}, {Op: opStoreX, K: 0},
		}
	}
	hosts := func(i uint32) []bpf.RawInstruction {
		return []bpf.RawInstruction{{Op: opLoadAbsW, K: 26}, {Op: opJumpEqK, K: i, Jf: 1}, {Op: opRetK, K: 100}}
	}
	loads := func(i uint32) []bpf.RawInstruction { return []bpf.RawInstruction{{Op: opLoadIndB, K: i % 40}} }
	return map[string][]bpf.RawInstruction{
		"hosts, 8192": build(MaxInstructions-4, hosts), "loads, 8192": build(MaxInstructions-3, loads),
		"vary X, 8192": build(MaxInstructions-6, varyX), "vary M, 8192": build(MaxInstructions-8, varyScratch),
		"bounds, 8192": build(MaxInstructions-8, bounds),
		"vary X, 255":  build(252, varyX), "vary M, 255": build(250, varyScratch), "bounds, 255": build(250, bounds),
	}
}

// TestHostilePrograms holds that programs made to keep the verifier busy, and
// the longest ones, either load or are refused, get the right verdicts in both
// cases from somebody, and don't keep another capture from opening. The times
// are for the reader.
func TestHostilePrograms(t *testing.T) {
	netnstest.RequireBPF(t)
	r := rand.New(rand.NewPCG(5, 4))
	programs := hostilePrograms()
	var random []bpf.RawInstruction
	for len(random) < 4000 {
		random = randomProgram(r, 4096)
	}
	programs["random, 4096"] = random
	frames := testFrames(r)
	f, err := NewFilter(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := newSocketPair(t)
	if err := f.Attach(s.rx); err != nil {
		t.Fatal(err)
	}
	var opening sync.WaitGroup
	defer opening.Wait()
	refused := uint64(0)
	for name, code := range programs {
		if testing.Short() && len(code) > 256 {
			continue
		}
		p := mustCompile(t, code)
		start := time.Now()
		opening.Go(func() {
			other, err := NewFilter(Config{})
			if err != nil {
				t.Errorf("another capture, while %s: %v", name, err)
				return
			}
			if err := other.Close(); err != nil {
				t.Error(err)
			}
			t.Logf("another capture opened within %v", time.Since(start))
		})
		judged, err := f.Set(p)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		t.Logf("%s: %d instructions, %+v, after %v", name, p.Len(), judged, time.Since(start))
		if !judged.Untagged {
			refused++
			continue
		}
		for _, frame := range frames {
			if got, want := s.verdict(frame), min(p.Run(frame, len(frame)), uint32(len(frame))); got != want {
				t.Errorf("%s: kernel %d, interpreter %d, frame %x", name, got, want, frame)
			}
		}
	}
	if c, err := f.Counts(); err != nil || c.Refusals < refused {
		t.Errorf("%+v, %v, want %d refusals", c, err, refused)
	}
}
