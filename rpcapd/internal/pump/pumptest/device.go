// Package pumptest is a capture device for tests: a ring and a filter without
// a kernel, which count as the kernel does.
package pumptest

import (
	"os"
	"sync"
	"time"

	"capstan/pkg/afpacket"
	"capstan/pkg/capture"
	"capstan/pkg/sockfilter"
	"capstan/rpcapd/internal/pump"
)

// Device is the fake. It implements pump.Source and pump.Filter. The zero
// value is ready: a ring without end whose filters run "in the kernel".
type Device struct {
	// UserSpace makes Set say that the kernel passes everything.
	UserSpace bool
	// Capacity is how many frames the ring holds; 0 is any number.
	Capacity int
	// SetError is what Set fails with.
	SetError error

	mu      sync.Mutex
	queue   []afpacket.Frame
	block   []afpacket.Frame // taken from queue, by the goroutine that reads
	active  bool
	program *sockfilter.Program
	counts  sockfilter.Counts
	ring    afpacket.Stats
	err     error
	change  chan struct{} // closed at each change; nil if nobody waits
	closed  bool
}

// Input returns the device as a pump takes it.
func (d *Device) Input(layout pump.Layout) pump.Input {
	return pump.Input{Source: d, Filter: (*filter)(d), Layout: layout}
}

// Push lets frames arrive at the interface. Whether they get into the ring is
// up to the filter.
func (d *Device) Push(frames ...afpacket.Frame) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range frames {
		d.counts.Seen++
		if !d.active {
			d.counts.Excluded++
			d.counts.Inactive++
			continue
		}
		if !d.UserSpace && !f.VLANPresent && d.program != nil && d.program.Run(f.Data, f.Len) == 0 {
			continue // refused by the program, which nothing counts
		}
		d.ring.Packets++
		if d.Capacity > 0 && len(d.queue) >= d.Capacity {
			d.ring.Drops++
			continue
		}
		d.queue = append(d.queue, f)
	}
	d.notify()
}

// Fail makes Read fail once the ring is empty.
func (d *Device) Fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = err
	d.notify()
}

// Active reports whether a filter is set, so that frames pass.
func (d *Device) Active() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.active
}

// Closed reports whether the ring has been closed.
func (d *Device) Closed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.closed
}

// notify is called with mu held.
func (d *Device) notify() {
	if d.change != nil {
		close(d.change)
		d.change = nil
	}
}

// blockLen is how many frames a block of the fake ring holds.
const blockLen = 128

// NextBlock implements pump.Source.
func (d *Device) NextBlock(timeout time.Duration) error {
	var expired <-chan time.Time
	for {
		change, err := d.take()
		if change == nil {
			return err
		}
		if timeout == 0 {
			return os.ErrDeadlineExceeded
		}
		if expired == nil {
			timer := time.NewTimer(timeout)
			defer timer.Stop()
			expired = timer.C
		}
		select {
		case <-change:
		case <-expired:
			return os.ErrDeadlineExceeded
		}
	}
}

// take makes a block of what is queued. If that is nothing, it returns the
// channel that is closed at the next change.
func (d *Device) take() (<-chan struct{}, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, os.ErrClosed
	}
	n := min(len(d.queue), blockLen)
	d.block, d.queue = d.queue[:n:n], d.queue[n:]
	switch {
	case n > 0:
		return nil, nil
	case d.err != nil:
		return nil, d.err
	}
	if d.change == nil {
		d.change = make(chan struct{})
	}
	return d.change, nil
}

// Next implements pump.Source.
func (d *Device) Next(f *afpacket.Frame) bool {
	if len(d.block) == 0 {
		return false
	}
	*f = d.block[0]
	d.block = d.block[1:]
	return true
}

// Stats implements pump.Source.
func (d *Device) Stats() (afpacket.Stats, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return afpacket.Stats{}, os.ErrClosed
	}
	return d.ring, nil
}

// Close implements pump.Source.
func (d *Device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	d.notify()
	return nil
}

// filter is the device's other face.
type filter Device

// SetSampled leaves sampling to the caller.
func (f *filter) SetSampled(p *sockfilter.Program, _ capture.Sampling) (judged sockfilter.Judged, sampled bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.SetError != nil {
		return sockfilter.Judged{}, false, f.SetError
	}
	f.active, f.program = true, p
	return sockfilter.Judged{Untagged: !f.UserSpace}, false, nil
}

func (f *filter) Stop() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.active = false
	return nil
}

func (f *filter) Counts() (sockfilter.Counts, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts, nil
}

func (f *filter) Close() error { return nil }
