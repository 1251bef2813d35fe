package sockfilter

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/cilium/ebpf"

	"capstan/pkg/capture"
)

// The slots for a client's program are numbered by tagging: it is translated
// for each, since the bytes of the client's frame are elsewhere.
const (
	clientSlots  = 3
	slotEpilogue = clientSlots // what they go on with, see epilogue
	slotCount    = slotEpilogue + 1
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
	Untagged bool // frames without a tag, or with one in place
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
		to := f.target(f.cfg.View.layout(untagged), s)
		all, err := loadProgram("capstan_all", to.passAll(to.keepSnapLen()))
		if err != nil {
			return Judged{}, kernelError("set", err)
		}
		return Judged{true, true}, f.fill(slots{all, all, all})
	}
	var programs slots
	judged, refused := Judged{true, true}, false
	for _, t := range f.cfg.View.taggings() {
		l := f.client(p, t, s)
		programs[t], refused = l.prog, refused || l.refused
		if t == tagged {
			judged.Tagged = l.exact
		} else {
			judged.Untagged = judged.Untagged && l.exact
		}
	}
	f.countRefusal(refused)
	if judged != (Judged{true, true}) {
		if p.kernelOnly >= 0 {
			return Judged{}, errors.Join(p.unsupported(), programs.close())
		}
		if s != nil {
			return Judged{}, errors.Join(errUnjudged, programs.close())
		}
	}
	if err := f.complete(&programs); err != nil {
		return Judged{}, errors.Join(kernelError("set", err), programs.close())
	}
	return judged, f.fill(programs)
}

// complete puts a program that passes all frames whole into empty slots.
func (f *Filter) complete(programs *slots) error {
	var whole *ebpf.Program
	for i := range programs {
		if programs[i] != nil {
			continue
		}
		if whole == nil {
			var err error
			if whole, err = loadProgram("capstan_whole", f.target(nil, nil).passAll(wholeFrame)); err != nil {
				return err
			}
		}
		programs[i] = whole
	}
	return nil
}

// slots are the programs for the slots; one may be in several.
type slots [clientSlots]*ebpf.Program

func (s *slots) close() (err error) {
	for i, p := range s {
		if !slices.Contains(s[:i], p) {
			err = errors.Join(err, p.Close())
		}
	}
	return err
}

// loaded is a client's program in the kernel.
type loaded struct {
	prog    *ebpf.Program // nil: all frames are left to user space
	exact   bool
	refused bool // by the kernel, or by the limits of what we offer it
}

// client loads a client's program for frames with such a tag.
func (f *Filter) client(p *Program, tag tagging, s *sampler) loaded {
	if p.userOnly {
		return loaded{}
	}
	t, exact := f.target(f.cfg.View.layout(tag), s).translate(p)
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

// fill hands programs over to the slots, which keep them alive.
func (f *Filter) fill(programs slots) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return errors.Join(fmt.Errorf("sockfilter: set: %w", os.ErrClosed), programs.close())
	}
	var err error
	for slot, p := range programs {
		err = errors.Join(err, f.slots.Update(uint32(slot), p, ebpf.UpdateAny))
	}
	if err != nil {
		err = kernelError("set", err)
	}
	return errors.Join(err, programs.close())
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
