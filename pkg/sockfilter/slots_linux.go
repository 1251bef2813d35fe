package sockfilter

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"

	"capstan/pkg/capture"
)

// The slots for a client's program: it is translated twice, since the bytes of
// a frame whose VLAN tag the kernel holds apart are elsewhere.
const (
	slotUntagged = iota
	slotTagged
	slotEpilogue // what they go on with, see epilogue
	slotCount
	clientSlots = slotEpilogue
)

// maxExpansion bounds the work that the kernel has after verifying a program,
// when no signal stops it any more: for each load that it expands it moves all
// that follows, so the work grows with the square of the length. The bound is
// in moved instructions; at about 4 ns each it is half a second.
const maxExpansion = 120_000_000

// loadGrowth is about how many instructions the kernel makes of a load beyond
// the first.
const loadGrowth = 5

// Judged tells of which frames the kernel's verdict is the client's program's.
// The others pass whole, except for some that the program refuses, and the
// caller has to run the program on each.
type Judged struct {
	Untagged bool
	Tagged   bool // frames whose VLAN tag the kernel holds apart, as the ring says
}

// Set replaces the client's program; nil passes every frame. The replacement
// is atomic: each frame meets the old program or the new one. Frames that are
// in a ring already keep the verdict of the old one.
//
// Of the frames that are judged in the kernel it delivers those that p accepts,
// cut to the smaller of p's verdict and the snap length. Where the client's
// frame starts with something that the kernel's hasn't, the cut may come a
// little later: then the caller cuts at the snap length.
//
// Of the others the kernel delivers whole those that p accepts, and maybe more.
// The caller makes the client's frame of it, runs p, and cuts the frame. So it
// is with programs beyond a limit of length, and with those that the kernel
// refuses or can't verify within [VerifierDeadline], which [Counts.Refusals]
// counts; neither is an error. So it is with programs that ask for what a
// socket filter can't know: netlink attributes, the payload's offset, the
// hardware type, and with cooked headers also the length of the frame and the
// sender's address.
//
// A program that can only run in the kernel, and doesn't, is an
// [*UnsupportedError], and the old one stays.
//
// With a nil program every frame comes cut to the snap length, which doesn't
// count a tag that the kernel holds apart.
func (f *Filter) Set(p *Program) (Judged, error) {
	judged, _, err := f.SetSampled(p, capture.Sampling{})
	return judged, err
}

// set is Set with sampling by s, unless that is nil. setMu is held. The error
// is errUnjudged if there is nothing that could sample all frames.
func (f *Filter) set(p *Program, s *sampler) (Judged, error) {
	if p == nil {
		to := f.target(f.cfg.View.layout(false), s)
		all, err := loadProgram("capstan_all", to.passAll(to.keepSnapLen()))
		if err != nil {
			return Judged{}, kernelError("set", err)
		}
		return Judged{true, true}, f.fill(all, all)
	}
	untagged, tagged := f.client(p, false, s), f.client(p, true, s)
	judged := Judged{untagged.exact, tagged.exact}
	f.countRefusal(untagged.refused || tagged.refused)
	if p.kernelOnly >= 0 && judged != (Judged{true, true}) {
		return Judged{}, errors.Join(p.unsupported(), untagged.prog.Close(), tagged.prog.Close())
	}
	if s != nil && judged != (Judged{true, true}) {
		return Judged{}, errors.Join(errUnjudged, untagged.prog.Close(), tagged.prog.Close())
	}
	if untagged.prog == nil || tagged.prog == nil {
		whole, err := loadProgram("capstan_whole", f.target(nil, nil).passAll(wholeFrame))
		if err != nil {
			return Judged{}, errors.Join(kernelError("set", err), untagged.prog.Close(), tagged.prog.Close())
		}
		if untagged.prog == nil && tagged.prog == nil {
			return judged, f.fill(whole, whole)
		}
		if untagged.prog == nil {
			untagged.prog = whole
		} else {
			tagged.prog = whole
		}
	}
	return judged, f.fill(untagged.prog, tagged.prog)
}

// loaded is a client's program in the kernel.
type loaded struct {
	prog    *ebpf.Program // nil: all frames are left to user space
	exact   bool
	refused bool // by the kernel, or by the limits of what we offer it
}

// client loads a client's program for frames without or with a tag.
func (f *Filter) client(p *Program, tagged bool, s *sampler) loaded {
	layout := f.cfg.View.layout(tagged)
	if layout == nil || p.userOnly {
		return loaded{}
	}
	t, exact := f.target(layout, s).translate(p)
	if t.tooFar || t.loads*(len(t.out)+t.loads*loadGrowth) > maxExpansion {
		return loaded{refused: true}
	}
	prog, err := loadClient(t.out)
	if err != nil {
		return loaded{refused: true}
	}
	return loaded{prog: prog, exact: exact}
}

// target returns what to translate a program for; s may be nil.
func (f *Filter) target(l *layout, s *sampler) target {
	to := target{layout: l, snapLen: uint32(f.cfg.SnapLen), reach: f.reach}
	switch {
	case s != nil:
		to.end = s.part()
	case f.cfg.hasEpilogue():
		to.end = goToEpilogue(f.slots)
	}
	return to
}

func (f *Filter) countRefusal(refused bool) {
	if !refused {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refusals++
}

// fill hands programs, which may be the same, over to the slots, which keep
// them alive.
func (f *Filter) fill(untagged, tagged *ebpf.Program) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := fmt.Errorf("sockfilter: set: %w", os.ErrClosed)
	if !f.closed {
		err = errors.Join(
			f.slots.Update(uint32(slotUntagged), untagged, ebpf.UpdateAny),
			f.slots.Update(uint32(slotTagged), tagged, ebpf.UpdateAny),
		)
		if err != nil {
			err = kernelError("set", err)
		}
	}
	if tagged != untagged {
		err = errors.Join(err, tagged.Close())
	}
	return errors.Join(err, untagged.Close())
}

// Stop empties the slots: from now on nothing passes, and frames are counted as
// Excluded.
func (f *Filter) Stop() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	for slot := range uint32(clientSlots) {
		err := f.slots.Delete(slot)
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("sockfilter: stop: %w", err)
		}
	}
	return nil
}
