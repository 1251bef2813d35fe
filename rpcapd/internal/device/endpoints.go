//go:build linux

package device

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// endpointTable is the part of sockfilter.SelfTable that Endpoints needs.
type endpointTable interface {
	Add(netip.AddrPort) error
	Remove(netip.AddrPort) error
}

// Endpoints keeps the table of own data connections. A connection that closes
// still sends: its last data, FIN, retransmissions. So its endpoint stays in
// the table for a while. Endpoints owns the timers of that.
type Endpoints struct {
	table  endpointTable
	linger time.Duration

	mu     sync.Mutex
	timers map[netip.AddrPort]*time.Timer // endpoints that were released
	closed bool
	wg     sync.WaitGroup // one for each timer that has not been stopped
}

// NewEndpoints returns an Endpoints on table. linger is how long an endpoint
// stays after its release.
func NewEndpoints(table endpointTable, linger time.Duration) *Endpoints {
	return &Endpoints{table: table, linger: linger, timers: make(map[netip.AddrPort]*time.Timer)}
}

// Add enters the local endpoint of a data connection.
func (e *Endpoints) Add(ap netip.AddrPort) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return errors.New("add own endpoint: table is closed")
	}
	if e.stop(ap) {
		return nil // the port was given out again while it lingered
	}
	if err := e.table.Add(ap); err != nil {
		return fmt.Errorf("add own endpoint %v: %w", ap, err)
	}
	return nil
}

// Release removes an endpoint after the linger time.
func (e *Endpoints) Release(ap netip.AddrPort) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed || e.timers[ap] != nil {
		return
	}
	e.wg.Add(1)
	var timer *time.Timer
	timer = time.AfterFunc(e.linger, func() {
		defer e.wg.Done()
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.timers[ap] == timer {
			delete(e.timers, ap)
			_ = e.table.Remove(ap) // nothing can be done; the entry costs a few bytes
		}
	})
	e.timers[ap] = timer
}

// stop ends the linger time of ap without removing it, and reports whether
// there was one.
func (e *Endpoints) stop(ap netip.AddrPort) bool {
	t := e.timers[ap]
	if t == nil {
		return false
	}
	delete(e.timers, ap)
	if t.Stop() {
		e.wg.Done()
	}
	return true
}

// Close ends all linger times and waits for what runs. The table itself
// belongs to whoever made it.
func (e *Endpoints) Close() {
	e.mu.Lock()
	e.closed = true
	for ap := range e.timers {
		e.stop(ap)
	}
	e.mu.Unlock()
	e.wg.Wait()
}
