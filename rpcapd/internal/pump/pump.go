package pump

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"capstan/pkg/afpacket"
	"capstan/pkg/capture"
	"capstan/pkg/sockfilter"
)

const (
	// referLen is the length from which on a frame is written from the ring
	// instead of being copied: naming it in a vector costs as much as copying a
	// smaller one. Measured over TCP, see docs/performance.md.
	referLen = 1000
	// pollInterval bounds how long a waiting pump doesn't notice Stop.
	pollInterval = 100 * time.Millisecond
	// drainLimit bounds how long Stop lets a client that doesn't read hold up
	// the end of a capture.
	drainLimit = time.Second
	// retireSlack is added to the block timeout when waiting for the ring's
	// last block, since the kernel's timer is not exact.
	retireSlack = 20 * time.Millisecond
)

// Input is an opened device: what a pump works on. The pump closes Source and
// Filter.
type Input struct {
	Source Source
	Filter Filter
	Layout Layout
	// Wants tells whether frames of the interface with this index are asked
	// for; nil is all. The kernel may pass frames that aren't, since it knows
	// later which are. It is called by one goroutine, for each frame.
	Wants func(ifindex int) bool
	// Own tells whether a packet belongs to a connection of ours and is left
	// out; nil where the kernel sees to it.
	Own func(*sockfilter.Packet) bool
	// InterfaceDropped returns how many frames the interface has lost since
	// the device was opened; nil means none.
	InterfaceDropped func() uint64
}

// Config describes one capture.
type Config struct {
	SnapLen      int           // bytes of a frame that the client wants
	BlockTimeout time.Duration // after which the ring retires a block that isn't full
	// MaxDatagram, unless 0, says that the data connection is a connected socket
	// for datagrams, a net.PacketConn, and how long one may be: each message is
	// one.
	MaxDatagram int
}

// Pump is one running capture.
type Pump struct {
	in  Input
	cfg Config

	// program is what deliver runs on each frame.
	program atomic.Pointer[program]
	setMu   sync.Mutex // serialises changes of the kernel's filter
	// Guarded by setMu.
	halted bool // nothing may pass any more
	active bool // a filter has been set
	rule   capture.Sampling

	// Owned by the goroutine of run.
	out       outbox
	datagrams *datagrams // nil unless messages are written alone
	number    uint32     // npkt of the last frame
	conn      net.Conn
	lost      bool // the data connection failed; frames are only counted
	sample    sampler

	sent, bytes, unwanted, interpreted, refused, sampled, oversized, failed atomic.Uint64

	startOnce, stopOnce, closeOnce sync.Once
	started, stopping, aborted     atomic.Bool
	stopAt                         atomic.Int64 // UnixNano of Stop
	done                           chan struct{}
	err                            error // why run ended; valid after done

	statsMu sync.Mutex // guards final and orders it with closing the input
	final   *Stats
}

// program is the client's filter as user space sees it.
type program struct {
	p *sockfilter.Program // nil is everything
	// judged tells on which frames p need not be run here.
	judged sockfilter.Judged
	// sampling is what remains to be done here.
	sampling capture.Sampling
}

// judges reports whether the program must be run on a frame. One that comes cut
// has been accepted, and cut, by a program in the kernel; what that saw is no
// longer there to be judged again.
func (p *program) judges(f *afpacket.Frame) bool {
	if p.p == nil || len(f.Data) < f.Len {
		return false
	}
	if f.VLANPresent {
		return !p.judged.Tagged
	}
	return !p.judged.Untagged
}

// New returns a pump that has not started: the kernel passes nothing yet.
func New(in Input, cfg Config) *Pump {
	p := &Pump{in: in, cfg: cfg, done: make(chan struct{})}
	p.program.Store(&program{judged: sockfilter.Judged{Untagged: true, Tagged: true}})
	return p
}

// Start writes frames to conn from now on, beginning with those that passed
// since the first SetFilter. The pump owns conn, whatever Start returns. It is
// called at most once; after Close it fails.
func (p *Pump) Start(conn net.Conn) error {
	err := net.ErrClosed
	p.startOnce.Do(func() {
		err = nil
		p.conn = conn
		p.out.open(conn)
		if p.cfg.MaxDatagram > 0 {
			p.out.alone = true
			p.datagrams = newDatagrams(batchWriterOf(conn))
		}
		p.started.Store(true)
		go p.run() // ended by Stop, Close, a lost connection or a device that vanished; Close waits
	})
	if err != nil {
		conn.Close()
	}
	return err
}

// SetFilter sets or replaces the client's filter; the first one starts the
// capture: frames then gather in the ring. Frames that passed the old one and
// are on their way when the change begins still arrive, unless they are whole
// and the new one, which is run on those while the change lasts, refuses them.
// After an error the old filter stays.
func (p *Pump) SetFilter(filter *sockfilter.Program) (inKernel bool, err error) {
	p.setMu.Lock()
	defer p.setMu.Unlock()
	return p.set(filter, p.rule)
}

// WhyUserSpace tells why the kernel doesn't judge all frames by the first filter
// of this capture that it was left out of.
func (p *Pump) WhyUserSpace() string {
	counts, err := p.in.Filter.Counts()
	switch {
	case err != nil:
		return err.Error()
	case counts.Partial:
		return "without CAP_BPF the kernel's filters are classic ones"
	case counts.Refusals > 0:
		return "the kernel's verifier refuses it, or it is too long"
	default:
		return "it asks for what a filter in the kernel can't know"
	}
}

// SetSampling thins out what the filter accepts from now on. After an error
// everything stays as it was.
func (p *Pump) SetSampling(rule capture.Sampling) error {
	p.setMu.Lock()
	defer p.setMu.Unlock()
	if p.active && rule != p.rule {
		if _, err := p.set(p.program.Load().p, rule); err != nil {
			return err
		}
	}
	p.rule = rule
	return nil
}

// set puts filter and sampling in force. setMu is held.
func (p *Pump) set(filter *sockfilter.Program, rule capture.Sampling) (inKernel bool, err error) {
	if p.halted {
		return false, fmt.Errorf("set filter: capture has ended: %w", net.ErrClosed)
	}
	old := p.program.Load()
	// If the old program ran here, frames that nobody has judged may still be
	// in the ring; then this goes on judging, and sampling, every frame. And
	// frames of interfaces that aren't wanted must not count.
	kernelRule := rule
	if old.sampling.Active() || p.in.Wants != nil {
		kernelRule = capture.Sampling{}
	}
	// While the kernel changes programs, frames of the old and of the new one
	// come out of the ring side by side, so the new one is run on all of them.
	p.program.Store(&program{p: filter, sampling: old.sampling})
	judged, sampled, err := p.in.Filter.SetSampled(filter, kernelRule)
	if err != nil {
		p.program.Store(old)
		return false, fmt.Errorf("set filter: %w", err)
	}
	next := &program{p: filter, judged: sockfilter.Judged{
		Untagged: judged.Untagged && old.judged.Untagged,
		Tagged:   judged.Tagged && old.judged.Tagged,
	}}
	if !sampled {
		next.sampling = rule
	}
	p.program.Store(next)
	p.active = true
	return judged.Untagged, nil
}

// halt makes the kernel pass nothing any more. If that fails, frames go on
// filling the ring until it is closed, and count as undelivered.
func (p *Pump) halt() {
	p.setMu.Lock()
	defer p.setMu.Unlock()
	p.halted = true
	_ = p.in.Filter.Stop()
}

// Done is closed when the pump has ended by itself or by Stop or Close.
func (p *Pump) Done() <-chan struct{} { return p.done }

// Err tells why the pump ended; valid after Done. Nil: Stop or Close.
// *afpacket.InterfaceGoneError: the device vanished. [ErrConnectionLost]: the
// data connection failed.
func (p *Pump) Err() error { return p.err }

// ErrConnectionLost is wrapped by the error of a failed data connection.
var ErrConnectionLost = errors.New("data connection lost")

// Stop ends the capture in an orderly way: nothing more passes the filter,
// what the ring holds is written, and the data connection is closed. It takes
// at most a second (or the block timeout and a little, if that is longer),
// even if the client doesn't read. What could not be written is counted as
// undelivered.
func (p *Pump) Stop() {
	p.stopOnce.Do(func() {
		if !p.started.Load() {
			return
		}
		p.halt()
		now := time.Now()
		p.stopAt.Store(now.UnixNano())
		_ = p.conn.SetWriteDeadline(now.Add(p.drainLimit()))
		p.stopping.Store(true)
	})
	p.Close()
}

func (p *Pump) drainLimit() time.Duration {
	return max(drainLimit, p.cfg.BlockTimeout+5*retireSlack)
}

// Close ends the pump and releases everything. Unless Stop came first it does
// so at once. It is idempotent, safe from any goroutine, and returns when
// nothing touches the ring any more; the counters stay.
func (p *Pump) Close() {
	if !p.stopping.Load() {
		p.aborted.Store(true)
	}
	p.startOnce.Do(func() { close(p.done) }) // never started: nothing to wait for
	if p.aborted.Load() && p.conn != nil {
		p.conn.Close() // unblocks a write
	}
	<-p.done
	p.closeOnce.Do(p.release)
}

func (p *Pump) release() {
	if p.conn != nil {
		p.conn.Close()
	}
	p.halt()
	p.statsMu.Lock()
	defer p.statsMu.Unlock()
	final, _ := p.read(true) // counters that can't be read stay zero
	p.final = &final
	p.in.Source.Close()
	p.in.Filter.Close()
}
