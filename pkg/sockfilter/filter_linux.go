package sockfilter

import (
	"errors"
	"fmt"
	"math"
	"os"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"capstan/pkg/capture"
)

// DefaultSnapLen stands for [Config.SnapLen] 0: no frame is longer.
const DefaultSnapLen = 262144

// maxKernelInstructions is the length of the longest program, dead code not
// counted, that we offer to the kernel; it is what Linux takes as a classic
// filter (BPF_MAXINSNS). The verifier's work grows with the length, and the
// programs come from remote clients.
const maxKernelInstructions = 4096

// Config describes the rules of a filter that hold whatever the client's
// program says.
type Config struct {
	// SnapLen is the largest verdict, in bytes; 0 = DefaultSnapLen.
	SnapLen int
	// Direction excludes frames of the other direction. DirectionIn keeps all
	// that came into the host's interface, also frames to other stations.
	Direction capture.Direction
	// LoopbackInterface is the ifindex of lo, on which a packet socket sees
	// every frame twice, going out and coming in; 0 = none. The outgoing
	// copies are excluded, as libpcap does, so that DirectionOut yields
	// nothing there.
	LoopbackInterface int
	// Cooked says that the client sees a cooked header (LINUX_SLL) that the
	// kernel doesn't: programs then never run in the kernel.
	Cooked bool
	// Self excludes the packets of these endpoints; nil = none.
	Self *SelfTable
}

func (c *Config) validate() error {
	if c.SnapLen < 0 || c.SnapLen > math.MaxInt32 {
		return fmt.Errorf("sockfilter: snap length %d: not from 0 to 2³¹-1", c.SnapLen)
	}
	if c.Direction > capture.DirectionOut {
		return fmt.Errorf("sockfilter: unknown direction %d", c.Direction)
	}
	if c.LoopbackInterface < 0 || c.LoopbackInterface > math.MaxInt32 {
		return fmt.Errorf("sockfilter: loopback interface %d: not an interface index", c.LoopbackInterface)
	}
	if c.SnapLen == 0 {
		c.SnapLen = DefaultSnapLen
	}
	return nil
}

// Filter is a socket filter: a prologue of ours that counts and excludes, and
// behind it a slot for the client's program, which the prologue jumps to. All
// methods may be called from any goroutine.
type Filter struct {
	// immutable
	cfg      Config
	counters *ebpf.Map
	slot     *ebpf.Map
	main     *ebpf.Program

	setMu sync.Mutex // serialises Set, which may wait long for the verifier

	mu       sync.Mutex // guards the slot's content and what follows
	closed   bool
	refusals uint64
}

// NewFilter loads a filter whose slot is empty: it passes nothing until
// [Filter.Set]. It needs CAP_BPF, else the error is a [*PermissionError].
// CAP_PERFMON spares it the kernel's barriers against speculation.
func NewFilter(cfg Config) (*Filter, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	f := &Filter{cfg: cfg}
	if err := f.load(); err != nil {
		return nil, errors.Join(err, f.closeAll())
	}
	return f, nil
}

func (f *Filter) load() (err error) {
	f.counters, err = ebpf.NewMap(&ebpf.MapSpec{
		Name: "capstan_counts", Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: countersLen, MaxEntries: 1,
	})
	if err != nil {
		return kernelError("counters", err)
	}
	f.slot, err = ebpf.NewMap(&ebpf.MapSpec{
		Name: "capstan_slot", Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 1,
	})
	if err != nil {
		return kernelError("slot", err)
	}
	f.main, err = loadProgram("capstan_main", f.prologue())
	if err != nil {
		return kernelError("prologue", err)
	}
	return nil
}

// Attach makes f the filter of the socket fd (SO_ATTACH_BPF). Several sockets
// may have it; they share its counters.
func (f *Filter) Attach(fd int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return fmt.Errorf("sockfilter: attach: %w", os.ErrClosed)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ATTACH_BPF, f.main.FD()); err != nil {
		return fmt.Errorf("sockfilter: attach: %w", err)
	}
	return nil
}

// Set replaces the client's program; nil passes every frame. The replacement
// is atomic: each frame meets the old program or the new one. Frames that are
// in a ring already keep the verdict of the old one.
//
// If inKernel is true, the kernel delivers the frames that p accepts, cut to
// the smaller of p's verdict and the snap length. There is one exception:
// frames whose VLAN tag the kernel holds apart from the bytes (the ring says
// so, Frame.VLANPresent), since p is to see the frame with its tag in place.
// Those come whole. The caller restores the tag, runs p, and cuts the frame.
//
// If inKernel is false, the kernel delivers every frame whole, and the caller
// has to do the same for each of them. So it is with Config.Cooked, with
// programs beyond a limit of length, and with those that the kernel refuses or
// can't verify within [VerifierDeadline], which [Counts.Refusals] counts;
// neither is an error.
//
// With a nil program inKernel is true, and every frame comes cut to the snap
// length, which doesn't count a tag that the kernel holds apart.
func (f *Filter) Set(p *Program) (inKernel bool, err error) {
	f.setMu.Lock()
	defer f.setMu.Unlock()
	if p == nil {
		return true, f.setSlot(passWhole(uint32(f.cfg.SnapLen)))
	}
	if !f.cfg.Cooked && analyse(p.code).count <= maxKernelInstructions {
		prog, err := loadClient(translate(p, uint32(f.cfg.SnapLen)))
		if err == nil {
			return true, f.putSlot(prog)
		}
		f.mu.Lock()
		f.refusals++
		f.mu.Unlock()
	}
	return false, f.setSlot(passWhole(wholeFrame))
}

func (f *Filter) setSlot(ins asm.Instructions) error {
	prog, err := loadProgram("capstan_pass", ins)
	if err != nil {
		return kernelError("set", err)
	}
	return f.putSlot(prog)
}

// putSlot hands prog over to the slot, which keeps it alive.
func (f *Filter) putSlot(prog *ebpf.Program) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return errors.Join(fmt.Errorf("sockfilter: set: %w", os.ErrClosed), prog.Close())
	}
	err := f.slot.Update(uint32(0), prog, ebpf.UpdateAny)
	if err := errors.Join(err, prog.Close()); err != nil {
		return kernelError("set", err)
	}
	return nil
}

// Stop empties the slot: from now on nothing passes, and frames are counted as
// Excluded.
func (f *Filter) Stop() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	err := f.slot.Delete(uint32(0))
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("sockfilter: stop: %w", err)
	}
	return nil
}

// Close stops the filter and frees what it holds. Sockets that still have it
// receive nothing any more.
func (f *Filter) Close() error {
	err := f.Stop()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	f.closed = true
	return errors.Join(err, f.closeAll())
}

func (f *Filter) closeAll() error {
	// Closing nil maps and programs does nothing.
	return errors.Join(f.main.Close(), f.slot.Close(), f.counters.Close())
}
