package sockfilter

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"capstan/pkg/capture"
)

// maxClassic is the length of the longest classic filter that Linux takes
// (BPF_MAXINSNS).
const maxClassic = 4096

// ClassicFilter does what a [Filter] does, as far as it can be done without
// CAP_BPF: with one classic filter per socket (SO_ATTACH_FILTER). It judges
// fewer programs in the kernel, and no tagged or cooked frames; own
// connections are left to [ClassicFilter.Own], and what doesn't pass isn't
// counted. All methods may be called from any goroutine.
type ClassicFilter struct {
	cfg Config // immutable

	mu       sync.Mutex // guards what follows
	sockets  []int      // duplicates of the descriptors, so that they stay those sockets
	code     []bpf.RawInstruction
	refusals uint64
	closed   bool
}

// NewClassicFilter returns a filter that passes nothing until
// [ClassicFilter.Set]. The rules Interfaces, Shard, Flows, Cutoff and Dedup
// need CAP_BPF: with one of them the error is a [*PermissionError].
func NewClassicFilter(cfg Config) (*ClassicFilter, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.Interfaces != nil || cfg.selectsFlows() || cfg.hasEpilogue() {
		return nil, kernelError("interfaces, shards, flows, cutoff and dedup", unix.EPERM)
	}
	return &ClassicFilter{cfg: cfg, code: refuseAll()}, nil
}

func refuseAll() []bpf.RawInstruction { return []bpf.RawInstruction{{Op: opRetK}} }

// Attach makes f the filter of the socket fd, which it keeps open until Close.
func (f *ClassicFilter) Attach(fd int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return fmt.Errorf("sockfilter: attach: %w", os.ErrClosed)
	}
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("sockfilter: attach: %w", err)
	}
	if err := attachClassic(own, f.code); err != nil {
		return errors.Join(fmt.Errorf("sockfilter: attach: %w", err), unix.Close(own))
	}
	f.sockets = append(f.sockets, own)
	return nil
}

// attachClassic replaces a socket's filter, which is atomic.
func attachClassic(fd int, code []bpf.RawInstruction) error {
	filter := make([]unix.SockFilter, len(code))
	for i, ins := range code {
		filter[i] = unix.SockFilter{Code: ins.Op, Jt: ins.Jt, Jf: ins.Jf, K: ins.K}
	}
	paceLoad()
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
}

// Set is [Filter.Set]. Of a filter on several sockets it replaces one after the
// other.
func (f *ClassicFilter) Set(p *Program) (Judged, error) {
	code, judged := f.cfg.classic(p)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return Judged{}, fmt.Errorf("sockfilter: set: %w", os.ErrClosed)
	}
	if p != nil && p.kernelOnly >= 0 && judged != (Judged{true, true}) {
		return Judged{}, p.unsupported()
	}
	err := f.attach(code)
	if err != nil && p != nil { // too long, or too much memory for the socket
		f.refusals++
		code, judged = f.cfg.sieve(nil, wholeFrame), Judged{}
		err = f.attach(code)
	}
	if err != nil {
		return Judged{}, fmt.Errorf("sockfilter: set: %w", err)
	}
	return judged, nil
}

// SetSampled is Set; the sampling is left to the caller.
func (f *ClassicFilter) SetSampled(p *Program, _ capture.Sampling) (judged Judged, sampled bool, err error) {
	judged, err = f.Set(p)
	return judged, false, err
}

func (f *ClassicFilter) attach(code []bpf.RawInstruction) error {
	for _, fd := range f.sockets {
		if err := attachClassic(fd, code); err != nil {
			return err
		}
	}
	f.code = code
	return nil
}

// Stop lets nothing pass any more.
func (f *ClassicFilter) Stop() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	return f.attach(refuseAll())
}

// Own reports whether a packet is one of [Config.Self]. The caller drops it.
func (f *ClassicFilter) Own(p *Packet) bool { return f.cfg.Self != nil && f.cfg.Self.has(p) }

// Counts returns what is known, which is Refusals.
func (f *ClassicFilter) Counts() (Counts, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return Counts{}, fmt.Errorf("sockfilter: counts: %w", os.ErrClosed)
	}
	return Counts{Partial: true, Refusals: f.refusals}, nil
}

// Close stops the filter and closes its hold on the sockets.
func (f *ClassicFilter) Close() error {
	err := f.Stop()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for _, fd := range f.sockets {
		err = errors.Join(err, unix.Close(fd))
	}
	f.sockets = nil
	return err
}

// classic returns the classic filter for a client's program.
func (c *Config) classic(p *Program) ([]bpf.RawInstruction, Judged) {
	to := target{layout: c.View.layout(untagged), snapLen: uint32(c.SnapLen)}
	if p == nil {
		return c.sieve(nil, to.keepSnapLen()), Judged{true, true}
	}
	if c.View != ViewFrame || !asClassic(p) || len(p.code) > maxClassic-maxRules {
		return c.sieve(nil, wholeFrame), Judged{}
	}
	code := slices.Clone(p.code)
	for i := range code {
		if code[i].Op == opRetK {
			code[i].K = min(code[i].K, to.snapLen)
		}
	}
	return c.sieve(code, 0), Judged{Untagged: true}
}

// asClassic reports whether Linux's classic filters do with a program what we
// do: see the package's comment.
func asClassic(p *Program) bool {
	const small = 1 << 29
	smallX, indirect := true, false
	for _, ins := range p.code {
		switch ins.Op {
		case opLshX, opRshX:
			return false
		case opTAX, opLoadXMem:
			smallX = false
		case opLoadXImm:
			smallX = smallX && ins.K < small
		case opLoadIndW, opLoadIndH, opLoadIndB:
			indirect = true
			smallX = smallX && ins.K < small
		case opLoadXMSH:
			if ins.K > maxOffset {
				return false
			}
		case opLoadAbsW, opLoadAbsH, opLoadAbsB:
			if ins.K > maxOffset && !sameAncillary(ins.K) {
				return false
			}
		}
	}
	return smallX || !indirect // else an offset might wrap
}

// sameAncillary reports whether a load at k gives the client's value on frames
// without a tag held apart.
func sameAncillary(k uint32) bool {
	if k < offsetAncillary {
		return false // reaches only a part of some frames
	}
	switch k - offsetAncillary {
	case adVLANTag, adVLANTagPresent, adVLANTPID, adPayloadOffset:
		return false
	}
	return true
}

// maxRules exceeds the length of what sieve puts in front of a program.
const maxRules = 16

// sieve returns the rules of c as a classic program, followed by code for
// frames without a tag held apart; nil code returns a verdict on all.
func (c *Config) sieve(code []bpf.RawInstruction, verdict uint32) (all []bpf.RawInstruction) {
	load := func(ad uint32) bpf.RawInstruction {
		return bpf.RawInstruction{Op: opLoadAbsW, K: offsetAncillary + ad}
	}
	refuse := bpf.RawInstruction{Op: opRetK}
	if c.LoopbackInterface != 0 {
		all = append(all,
			load(adPacketType),
			bpf.RawInstruction{Op: opJumpEqK, K: unix.PACKET_OUTGOING, Jf: 3},
			load(adInterface),
			bpf.RawInstruction{Op: opJumpEqK, K: uint32(c.LoopbackInterface), Jf: 1},
			refuse,
		)
	}
	switch c.Direction {
	case capture.DirectionIn:
		all = append(all, load(adPacketType), bpf.RawInstruction{Op: opJumpEqK, K: unix.PACKET_OUTGOING, Jf: 1}, refuse)
	case capture.DirectionOut:
		all = append(all, load(adPacketType), bpf.RawInstruction{Op: opJumpEqK, K: unix.PACKET_OUTGOING, Jt: 1}, refuse)
	}
	if code == nil {
		return append(all, bpf.RawInstruction{Op: opRetK, K: verdict})
	}
	all = append(all,
		load(adVLANTagPresent),
		bpf.RawInstruction{Op: opJumpEqK, Jt: 1},
		bpf.RawInstruction{Op: opRetK, K: wholeFrame},
		bpf.RawInstruction{Op: opLoadImm}, // programs start with 0 in A
	)
	return append(all, code...)
}
