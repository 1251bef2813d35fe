package afpacket

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Ring is a receive ring. Next may be called by one goroutine at a time (more
// are served one after the other); the other methods from any goroutine.
type Ring struct {
	// immutable
	fd          int
	mem         []byte
	blockLen    int
	ifindex     int
	timeout     time.Duration
	gather      int // blocks
	gatherFrom  time.Duration
	gatherLimit time.Duration
	promiscuous bool

	leased    []atomic.Bool // by block: handed out and not released
	closed    atomic.Bool
	closeOnce sync.Once
	// holders counts the ring itself until Close, and each leased block. The
	// last one to go unmaps the memory and closes the descriptors.
	holders   atomic.Int32
	malformed atomic.Uint64

	waiter            // guarded by nextMu, but for file
	nextMu sync.Mutex // serialises Next
	// guarded by nextMu
	index     int       // the block that is retired next
	gone      error     // set when the interface is gone
	goneUntil time.Time // until then the kernel may still retire a block

	statsMu sync.Mutex // serialises reading the kernel's counters, which resets them
	stats   Stats
}

// Open makes a ring. attach, if not nil, is called with the socket before any
// frame can arrive, and is the place to attach a filter; it must not keep the
// descriptor. Without CAP_NET_RAW the error is a [*PermissionError]; if the
// interface is not there or not up it is an [*InterfaceGoneError]. The others
// wrap the errno.
func Open(cfg Config, attach func(fd int) error) (*Ring, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.setDefaults()
	fd, mem, err := openSocket(&cfg, attach)
	if err != nil {
		return nil, err
	}
	r := &Ring{
		fd:          fd,
		mem:         mem,
		blockLen:    cfg.BlockLen,
		leased:      make([]atomic.Bool, cfg.BlockCount),
		ifindex:     cfg.Interface,
		timeout:     cfg.BlockTimeout,
		gather:      max(cfg.Gather, 1),
		gatherFrom:  gatherFrom,
		gatherLimit: gatherLimit,
	}
	if err := r.own(fd); err != nil {
		return nil, errors.Join(err, unix.Munmap(mem), r.file.Close())
	}
	r.holders.Store(1)
	r.promiscuous = cfg.Promiscuous && cfg.Interface != 0 && joinPromiscuous(fd, cfg.Interface) == nil
	return r, nil
}

// Promiscuous reports whether the interface was asked for, and granted,
// promiscuous mode.
func (r *Ring) Promiscuous() bool { return r.promiscuous }

// Next leases the next block of frames into b, which must not hold a lease.
// If a block is ready it makes no system call. Otherwise it waits up to
// timeout (0 = not at all, without a system call; negative = for ever) and fails with
// [os.ErrDeadlineExceeded], which loses nothing. If blocks are to gather, a
// call that waits does so for several of them (see [Config]). After [Ring.Close] it fails
// with [os.ErrClosed]. When the interface went away or down it hands out the
// blocks that still hold frames and then fails with an [*InterfaceGoneError],
// for good.
//
// The kernel retires blocks in order and waits for none to be skipped: a block
// that is never released stops the ring when it comes round to it.
func (r *Ring) Next(b *Block, timeout time.Duration) error {
	if b.ring != nil {
		return errors.New("afpacket: next: the block is still leased")
	}
	r.nextMu.Lock()
	defer r.nextMu.Unlock()
	if r.closed.Load() {
		return os.ErrClosed
	}
	if r.lease(b) {
		return nil
	}
	return r.wait(b, timeout)
}

// lease hands the next block out if the kernel has retired it and it isn't
// handed out already (with every block leased, the ring has come round).
func (r *Ring) lease(b *Block) bool {
	if r.leased[r.index].Load() {
		return false
	}
	data := r.blockAt(r.index)
	// The load has acquire semantics: the kernel wrote the frames before.
	if atomic.LoadUint32(statusOf(data))&unix.TP_STATUS_USER == 0 {
		return false
	}
	r.leased[r.index].Store(true)
	r.holders.Add(1)
	b.lease(r, r.index, data)
	if r.index++; r.index == len(r.leased) {
		r.index = 0
	}
	return true
}

func (r *Ring) blockAt(i int) []byte { return r.mem[i*r.blockLen:][:r.blockLen:r.blockLen] }

// Close ends the capture, wakes Next, and waits for it to return. Blocks that
// are still leased stay readable until they are released; the memory goes
// with the last of them.
func (r *Ring) Close() error {
	var err error
	r.closeOnce.Do(func() {
		r.closed.Store(true)
		err = r.file.SetReadDeadline(time.Unix(1, 0)) // wakes Next
		r.nextMu.Lock()
		defer r.nextMu.Unlock()
		r.statsMu.Lock()
		r.readStats() // for Stats after Close
		r.statsMu.Unlock()
		err = errors.Join(err, r.drop())
	})
	return err
}

// drop gives up one hold on the ring's memory and descriptors.
func (r *Ring) drop() error {
	if r.holders.Add(-1) != 0 {
		return nil
	}
	return errors.Join(unix.Munmap(r.mem), r.file.Close())
}
