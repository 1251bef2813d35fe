package sockfilter

import (
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf/asm"
	"golang.org/x/net/bpf"

	"capstan/pkg/netns/netnstest"
)

// hard is a program that the verifier has more than a million steps to
// follow in: R7 is another number on each of 2³⁰ ways, and matters.
func hard() asm.Instructions {
	ins := asm.Instructions{asm.Mov.Reg(regCtx, asm.R1), asm.Mov.Imm(asm.R7, 1)}
	for i := range int32(30) {
		ins = append(ins,
			asm.LoadAbs(i, asm.Byte),
			skip(asm.JSet.Imm(asm.R0, 1, ""), 1),
			asm.Add.Imm(asm.R7, 1<<i),
			skip(asm.JEq.Imm(asm.R7, i, ""), 1),
			asm.Mov.Imm(asm.R0, 0),
		)
	}
	return append(ins, asm.Mov.Reg(asm.R0, asm.R7), asm.Return())
}

// TestLoadHasADeadline holds that a verifier that has too much to do is
// stopped, and that other captures open meanwhile.
func TestLoadHasADeadline(t *testing.T) {
	netnstest.RequireBPF(t)
	before := bpfDescriptors(t)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			start := time.Now()
			if p, err := loadWithin(30*time.Millisecond, "hard", hard()); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("loaded %v: %v", p, err)
			}
			t.Logf("refused after %v", time.Since(start))
		})
		f, err := NewFilter(Config{})
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	if n := bpfDescriptors(t); n != before {
		t.Errorf("%d maps and programs open, %d before", n, before)
	}
}

// TestShortProgramsDontWaitForLongOnes holds that a usual filter is set while
// the kernel is busy with a long one: with the long ones' lock held, for ever
// as far as the short one can tell.
func TestShortProgramsDontWaitForLongOnes(t *testing.T) {
	netnstest.RequireBPF(t)
	f, err := NewFilter(Config{View: ViewCooked})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	long, err := NewFilter(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer long.Close()
	verifiers.long.Lock()
	waiting := make(chan Judged)
	go func() { // ended below
		judged, err := long.Set(mustCompile(t, nops(2000)))
		if err != nil {
			t.Error(err)
		}
		waiting <- judged
	}()
	for _, np := range tcpdumpPrograms(t)[:3] {
		if _, err := f.Set(mustCompile(t, np.code)); err != nil {
			t.Errorf("%s: %v", np.name, err)
		}
	}
	select {
	case judged := <-waiting:
		t.Errorf("the long program was judged %+v out of turn", judged)
	default:
	}
	verifiers.long.Unlock()
	if judged := <-waiting; judged != allJudged {
		t.Errorf("the long program: %+v", judged)
	}
}

// nops is a program of n instructions that accepts all frames.
func nops(n int) []bpf.RawInstruction {
	code := make([]bpf.RawInstruction, n)
	for i := range code {
		code[i] = bpf.RawInstruction{Op: opLoadImm, K: uint32(i)}
	}
	code[n-1] = bpf.RawInstruction{Op: opRetK, K: 1}
	return code
}
