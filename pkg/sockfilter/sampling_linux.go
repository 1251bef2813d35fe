package sockfilter

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"capstan/pkg/capture"
)

// SetSampled is [Filter.Set] with sampling of what p accepts. If sampled is
// true, the kernel does it, exactly whatever number of processors deliver
// frames, and [Counts.Sampled] counts what it leaves out. It is false if the
// kernel judges not all frames, for a frame counts only if it is accepted, and
// with rules that come behind the program ([Config.Cutoff], [Config.Dedup]);
// then the kernel leaves out none, and the caller has to.
//
// An interval is measured when frames meet the filter, by the monotonic clock.
// A rule that follows an equal one goes on where that one stood.
func (f *Filter) SetSampled(p *Program, rule capture.Sampling) (judged Judged, sampled bool, err error) {
	f.setMu.Lock()
	defer f.setMu.Unlock()
	if !rule.Active() || f.cfg.hasEpilogue() {
		judged, err = f.set(p, nil)
		return judged, false, err
	}
	s, err := f.sampler(rule)
	if err != nil {
		return Judged{}, false, err
	}
	judged, err = f.set(p, s)
	if errors.Is(err, errUnjudged) {
		judged, err = f.set(p, nil)
		return judged, false, err
	}
	return judged, err == nil, err
}

// errUnjudged is set's if it was to sample a program that the kernel doesn't
// run for all frames.
var errUnjudged = errors.New("the kernel doesn't judge all frames")

// sampler is the kernel's state of a Sampling.
type sampler struct {
	rule    capture.Sampling
	state   *ebpf.Map // one value, see below
	sampled *ebpf.Map // of the Filter: how many frames were left out
}

// Offsets in the value of a state's map, each of 64 bits.
const (
	stateAccepted = 0 // frames so far
	stateKept     = 8 // when the last one was kept, in ns of the monotonic clock; 0 = none was
	stateLen      = 16
)

// sampler returns the state for a rule: the present one if it is the same.
func (f *Filter) sampler(rule capture.Sampling) (*sampler, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, fmt.Errorf("sockfilter: set: %w", os.ErrClosed)
	}
	if f.sampling != nil && f.sampling.rule == rule {
		return f.sampling, nil
	}
	state, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: "capstan_sample", Type: ebpf.Array, KeySize: 4, ValueSize: stateLen, MaxEntries: 1,
	})
	if err != nil {
		return nil, kernelError("sampling", err)
	}
	// A program that is still in force keeps the old state alive.
	if f.sampling != nil {
		err = f.sampling.state.Close()
	}
	f.sampling = &sampler{rule: rule, state: state, sampled: f.sampled}
	return f.sampling, err
}

// Labels of the sampling part.
const (
	labelSampleKeep = "sample keep"
	labelSampleDrop = "sample drop"
	labelSampleEnd  = "sample end"
)

// part decides about a frame whose verdict is in R0. It is where programs end
// that accept.
func (s *sampler) part() asm.Instructions {
	const regVerdict = asm.R8
	ins := asm.Instructions{
		asm.Mov.Reg32(regVerdict, asm.R0),
		asm.JEq.Imm32(asm.R0, 0, labelSampleEnd), // refused
	}
	if s.rule.OneIn > 1 {
		ins = append(ins, s.oneIn()...)
	} else {
		ins = append(ins, s.interval()...)
	}
	drop := asm.LoadMapValue(asm.R1, s.sampled.FD(), 0).WithSymbol(labelSampleDrop)
	return append(ins,
		asm.Mov.Reg32(asm.R0, regVerdict).WithSymbol(labelSampleKeep),
		asm.Ja.Label(labelSampleEnd),
		drop,
		asm.Mov.Imm(asm.R2, 1),
		asm.StoreXAdd(asm.R1, asm.R2, asm.DWord),
		asm.Mov.Imm(asm.R0, 0),
		asm.Return().WithSymbol(labelSampleEnd),
	)
}

// oneIn counts frames, one number for each whatever processor it is on.
func (s *sampler) oneIn() asm.Instructions {
	return asm.Instructions{
		asm.LoadMapValue(asm.R1, s.state.FD(), stateAccepted),
		asm.Mov.Imm(asm.R2, 1),
		atomic(asm.FetchAdd, asm.R1, asm.R2),
		asm.LoadImm(asm.R3, int64(s.rule.OneIn), asm.DWord),
		asm.Mod.Reg(asm.R2, asm.R3),
		asm.JNE.Imm(asm.R2, 0, labelSampleDrop),
	}
}

// atomic is op on the 64 bits that dst points to. The library, as of v0.22.0,
// forgets the operation when it encodes the instruction unless it stands in
// Constant, too.
func atomic(op asm.AtomicOp, dst, src asm.Register) asm.Instruction {
	ins := op.Mem(dst, src, asm.DWord, 0)
	ins.Constant = int64(op >> 8)
	return ins
}

// interval keeps a frame if the last kept one is long enough ago. Of several
// processors that find so at once, the one that enters its time first keeps.
func (s *sampler) interval() asm.Instructions {
	const (
		regNow   = asm.R7
		regLast  = asm.R9
		regState = asm.R6
	)
	return asm.Instructions{
		asm.FnKtimeGetNs.Call(),
		asm.Mov.Reg(regNow, asm.R0),
		asm.LoadMapValue(regState, s.state.FD(), stateKept),
		asm.LoadMem(asm.R0, regState, 0, asm.DWord),
		asm.Mov.Reg(regLast, asm.R0),
		skip(asm.JEq.Imm(asm.R0, 0, ""), 5), // the first one
		asm.Mov.Reg(asm.R2, regNow),
		asm.Sub.Reg(asm.R2, asm.R0),
		asm.LoadImm(asm.R3, int64(s.rule.Interval), asm.DWord), // twice as wide as the others
		asm.JSLT.Reg(asm.R2, asm.R3, labelSampleDrop),
		atomic(asm.CmpXchg, regState, regNow),
		asm.JNE.Reg(asm.R0, regLast, labelSampleDrop),
	}
}
