package sockfilter

import (
	"errors"
	"fmt"
	"math"
	"os"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"capstan/pkg/capture"
)

// DefaultSnapLen stands for [Config.SnapLen] 0: no frame is longer.
const DefaultSnapLen = 262144

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
	// View is the frame that programs are written for.
	View View
	// Self excludes the packets of these endpoints; nil = none.
	Self *SelfTable
	// Interfaces excludes the frames of these interfaces; nil = none.
	Interfaces *InterfaceTable
	// Shard keeps one part of the traffic. The filters of all parts together
	// keep each frame once.
	Shard Shard
	// Flows keeps whole connections, one of so many, by a part of the hash of
	// their flow that shards don't depend on; 0 and 1 = all. Frames that
	// belong to no flow, see [Shard], are excluded.
	Flows int
	// Cutoff is how many bytes of payload are delivered of each flow of TCP
	// and UDP, see [Shard], and direction; 0 = all. A frame whose payload starts
	// there or later is cut behind the transport header, its length stays true.
	// With TCP sequence numbers tell where, from a SYN on or the first segment
	// seen: repeated segments are cut or not as the first time. With UDP what
	// has come counts. So it starts anew with a SYN, and with a flow that is not
	// among the 65,536 most recently seen. Frames that user space has to judge,
	// see [Filter.Set], come whole, and count, accepted or not.
	Cutoff int64
	// Dedup is the window in which a packet that the filter sees at a second
	// interface, or first coming in and then going out, is excluded; 0 = none.
	// It is an effort, no promise: a packet that is segmented or translated on
	// its way is another one; two packets without payload or checksum to tell
	// them apart, which meet at different interfaces, are taken for one.
	Dedup time.Duration
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
	if err := c.Shard.validate(); err != nil {
		return err
	}
	if c.Cutoff < 0 {
		return fmt.Errorf("sockfilter: cutoff after %d bytes", c.Cutoff)
	}
	if c.Dedup < 0 {
		return fmt.Errorf("sockfilter: duplicates within %v", c.Dedup)
	}
	if c.Flows < 0 || c.Flows > maxShards {
		return fmt.Errorf("sockfilter: one of %d flows: want 1 to %d", c.Flows, maxShards)
	}
	if c.View > ViewCooked2 {
		return fmt.Errorf("sockfilter: unknown view %d", c.View)
	}
	if c.SnapLen == 0 {
		c.SnapLen = DefaultSnapLen
	}
	return nil
}

// Filter is a socket filter: a prologue of ours that counts and excludes, and
// behind it slots for the client's program, which the prologue jumps to. All
// methods may be called from any goroutine.
type Filter struct {
	// immutable
	cfg      Config
	reach    bool // see networkReach
	counters *ebpf.Map
	slots    *ebpf.Map
	main     *ebpf.Program
	epilogue epilogue
	sampled  *ebpf.Map // one number: the frames that sampling left out

	setMu sync.Mutex // serialises Set, which may wait long for the verifier

	mu       sync.Mutex // guards the slots' content and what follows
	closed   bool
	refusals uint64
	sampling *sampler // of the last SetSampled; may be nil
}

// NewFilter loads a filter whose slots are empty: it passes nothing until
// [Filter.Set]. It needs CAP_BPF, else the error is a [*PermissionError].
// CAP_PERFMON spares it the kernel's barriers against speculation.
func NewFilter(cfg Config) (*Filter, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.Self != nil && cfg.Self.endpoints == nil {
		return nil, kernelError("own connections", unix.EPERM)
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
	f.slots, err = ebpf.NewMap(&ebpf.MapSpec{
		Name: "capstan_slots", Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: slotCount,
	})
	if err != nil {
		return kernelError("slots", err)
	}
	f.sampled, err = ebpf.NewMap(&ebpf.MapSpec{
		Name: "capstan_sampled", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1,
	})
	if err != nil {
		return kernelError("sampled", err)
	}
	f.main, err = loadProgram("capstan_main", f.prologue())
	if err != nil {
		return kernelError("prologue", err)
	}
	if f.cfg.hasEpilogue() {
		if err := f.epilogue.load(&f.cfg, f.counters); err != nil {
			return err
		}
		if err := f.slots.Update(uint32(slotEpilogue), f.epilogue.prog, ebpf.UpdateAny); err != nil {
			return kernelError("rules", err)
		}
	}
	if f.reach, err = networkReach(); err != nil {
		return kernelError("probe", err)
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
	err := errors.Join(f.main.Close(), f.epilogue.close(), f.slots.Close(), f.counters.Close(), f.sampled.Close())
	if f.sampling != nil {
		err = errors.Join(err, f.sampling.state.Close())
	}
	return err
}
